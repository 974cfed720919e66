"""The packed file: the layout of the published card, and the settings beside it that its shapes do not tell."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from thimble_train.checkpoint import load_model, read_back
from thimble_train.model import Matrix
from thimble_train.quantise import packed


def export(checkpoint, tokenizer, folder):
    """Writes model.safetensors, config.json and tokenizer.json of a checkpoint into `folder`."""
    model = load_model(checkpoint)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(packed_tensors(model), folder / "model.safetensors", {"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    (folder / "config.json").write_text(json.dumps(settings(model.config), indent=2) + "\n")
    shutil.copyfile(tokenizer, folder / "tokenizer.json")


def packed_tensors(model):
    """{name: tensor} of the file."""
    bits = {f"{name}.weight": m.bits for name, m in model.named_modules() if isinstance(m, Matrix)}
    tensors = {}
    for name, p in model.state_dict().items():
        if bits.get(name):
            tensors |= {name + end: tensor.contiguous() for end, tensor in packed(p, bits[name]).items()}
        else:
            tensors[name] = p.half()
    return tensors


def settings(config):
    """config.json: what a loader would otherwise have to find out by trying."""
    return {
        "model_type": "ssmoelm",
        "name": "Thimble",
        "head_dim": config.head_dim,
        "num_experts_per_tok": config.top_k,
        "norm_topk_prob": True,
        "scoring_func": "softmax",
        "gate_first": True,
        "rms_norm_eps": config.eps,
        "rope_theta": config.rope_theta,
        "rope_interleaved": False,
        "max_position_embeddings": config.context,
        "bits_msb_first": True,
        "bits_one_is_plus": True,
        "nibbles_low_first": True,
        "nibbles_offset": 8,
        "embedding_offset": None,
    }


def difference(checkpoint, folder, ids):
    """The largest difference between the trainer's logits and the packed file's, for ids [batch, n]."""
    model = load_model(checkpoint)
    with torch.no_grad():
        trained = model.logits(ids, quantised=True)
        stored = read_back(Path(folder) / "model.safetensors", model.config).logits(ids, quantised=False)
    return (trained - stored).abs().max().item()
