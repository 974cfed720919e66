"""MTLM1-200M: the file layout of its training code, tiny random checkpoints, and the forward pass from its formulas.

model.safetensors, all F32, matrices [out, in], no biases:

    tok_emb.weight [vocab, d]                    also the head; lm_head.weight, where stored, is the same matrix
    layers.i.norm1.weight, layers.i.norm2.weight, norm_f.weight [d]
    layers.i.attn.qkv.weight [3d, d]             rows of q, then of k, then of v; each d = heads · head_dim
    layers.i.attn.o_proj.weight [d, d]
    layers.i.mlp.{w1, w2}.weight [h, d]          w1 the gate, w2 the up matrix
    layers.i.mlp.w3.weight [d, h]                the down matrix

How the published file differs from a training checkpoint is not known: the second checkpoint here has every name
below `model.`, no lm_head, and Hugging Face's keys in config.json. The number of heads stands only there.
"""

import shutil

import numpy as np
import torch
from torch.nn.functional import silu

from references import vocabularies
from references.common import attention, below, draw, read_json, read_tensors, rms_norm, rope, write_tensors
from tiny_models import VOCAB_SIZE, write_json

THETA, EPS = 10000.0, 1e-6
CHECKPOINTS = {
    "tiny-mtlm1": {
        "seed": 1, "d": 24, "heads": 3, "layers": 2, "hidden": 40, "prefix": "", "lm_head": True,
        "config": {
            "vocab_size": VOCAB_SIZE, "d_model": 24, "n_heads": 3, "n_layers": 2, "max_seq_len": 256, "dropout": 0.0,
        },
    },
    "tiny-mtlm1-prefixed": {
        "seed": 2, "d": 32, "heads": 2, "layers": 2, "hidden": 56, "prefix": "model.", "lm_head": False,
        "config": {
            "architectures": ["MTLMForCausalLM"],
            "auto_map": {
                "AutoConfig": "configuration_mtlm.MTLMConfig", "AutoModelForCausalLM": "modeling_mtlm.MTLMForCausalLM",
            },
            "bos_token_id": 1, "eos_token_id": 2, "hidden_size": 32, "max_position_embeddings": 256,
            "model_type": "mtlm", "num_attention_heads": 2, "num_hidden_layers": 2, "tie_word_embeddings": True,
            "torch_dtype": "float32", "vocab_size": VOCAB_SIZE,
        },
    },
}


def logits(folder, ids, _choices):
    """Logits [n, vocab] after each of `ids`, from the files of `folder`."""
    heads, n_layers, w = read(folder)
    n, x = len(ids), w["tok_emb.weight"][torch.tensor(ids).long()]
    for i in range(n_layers):
        layer = below(w, f"layers.{i}.")
        a = rms_norm(x, layer["norm1.weight"], EPS)
        q, k, v = (part.view(n, heads, -1) for part in (a @ layer["attn.qkv.weight"].T).chunk(3, dim=-1))
        mixed = attention(rope(q, THETA, interleaved=True), rope(k, THETA, interleaved=True), v)
        x = x + mixed @ layer["attn.o_proj.weight"].T
        m = rms_norm(x, layer["norm2.weight"], EPS)
        w1, w2, w3 = (layer[f"mlp.{name}.weight"] for name in ("w1", "w2", "w3"))
        x = x + (silu(m @ w1.T) * (m @ w2.T)) @ w3.T
    return rms_norm(x, w["norm_f.weight"], EPS) @ w["tok_emb.weight"].T


def read(folder):
    """(number of heads, number of layers, tensors by the names of the training code)."""
    config, w = read_json(folder / "config.json"), read_tensors(folder)
    w = {name.removeprefix("model."): tensor for name, tensor in w.items()}
    heads = config.get("n_heads") or config["num_attention_heads"]
    return heads, config.get("n_layers") or config["num_hidden_layers"], w


def write_checkpoint(name, folder):
    """Writes the folder of the checkpoint `name`: config, tokenizer and weights."""
    spec = CHECKPOINTS[name]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(spec["seed"])
    tensors = {key: draw(rng, kind, shape, shape[-1]).float() for key, (kind, shape) in shapes(spec).items()}
    if spec["lm_head"]:
        tensors["lm_head.weight"] = tensors["tok_emb.weight"].clone()
    tensors = {spec["prefix"] + key: tensor for key, tensor in tensors.items()}
    write_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
    write_json(folder / "config.json", spec["config"])
    write_tokenizer(folder)


def shapes(spec):
    """{name: (kind, shape)} in the order of the file."""
    d, hidden = spec["d"], spec["hidden"]
    out = {"tok_emb.weight": ("embedding", (VOCAB_SIZE, d))}
    for i in range(spec["layers"]):
        out |= {f"layers.{i}.{name}.weight": ("norm" if len(shape) == 1 else "matrix", shape) for name, shape in {
            "norm1": (d,), "attn.qkv": (3 * d, d), "attn.o_proj": (d, d), "norm2": (d,), "mlp.w1": (hidden, d),
            "mlp.w2": (hidden, d), "mlp.w3": (d, hidden),
        }.items()}
    return out | {"norm_f.weight": ("norm", (d,))}


def write_tokenizer(folder):
    """Mistral-7B-v0.1's kind of tokenizer, which has no chat template; its model_max_length is no 64-bit integer."""
    (folder / "tokenizer.json").write_text(vocabularies.mistral() + "\n")
    write_tokenizer_config(folder)


def write_tokenizer_config(folder):
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    write_json(folder / "special_tokens_map.json", special)
    write_json(folder / "tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False, "additional_special_tokens": [], **special,
        "clean_up_tokenization_spaces": False, "legacy": True, "model_max_length": 1000000000000000019884624838656,
        "pad_token": None, "sp_model_kwargs": {}, "spaces_between_special_tokens": False,
        "tokenizer_class": "LlamaTokenizer", "use_default_system_prompt": False,
    })
