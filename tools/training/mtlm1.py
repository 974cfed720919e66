"""MTLM1 at a width of 128: tensors and formulas as in references/mtlm1.py."""

import torch
from torch.nn.functional import silu

from references.common import write_tensors
from references.mtlm1 import EPS
from tiny_models import write_json
from training.layers import attention, rms_norm
from training.stories import VOCAB_SIZE

D, HIDDEN, LAYERS, BOS = 128, 128, 3, 1
CONFIG = {
    "vocab_size": VOCAB_SIZE, "d_model": D, "n_heads": D // 64, "n_layers": LAYERS, "max_seq_len": 256, "dropout": 0.0,
}


def parameters():
    """{name: tensor} before training."""
    shapes = {"tok_emb.weight": (VOCAB_SIZE, D), "norm_f.weight": (D,)}
    for i in range(LAYERS):
        shapes |= {f"layers.{i}.{name}.weight": shape for name, shape in {
            "norm1": (D,), "attn.qkv": (3 * D, D), "attn.o_proj": (D, D), "norm2": (D,), "mlp.w1": (HIDDEN, D),
            "mlp.w2": (HIDDEN, D), "mlp.w3": (D, HIDDEN),
        }.items()}
    return {name: torch.ones(shape) if len(shape) == 1 else torch.randn(shape) / shape[-1] ** 0.5
            for name, shape in shapes.items()}


def logits(w, ids):
    """[batch, n, vocab] and no further loss."""
    x = w["tok_emb.weight"][ids]
    for i in range(LAYERS):
        layer = f"layers.{i}."
        a = rms_norm(x, w[layer + "norm1.weight"], EPS)
        q, k, v = (a @ w[layer + "attn.qkv.weight"].T).chunk(3, dim=-1)
        x = x + attention(q, k, v, interleaved=True) @ w[layer + "attn.o_proj.weight"].T
        m = rms_norm(x, w[layer + "norm2.weight"], EPS)
        w1, w2, w3 = (w[f"{layer}mlp.w{j}.weight"] for j in (1, 2, 3))
        x = x + (silu(m @ w1.T) * (m @ w2.T)) @ w3.T
    return rms_norm(x, w["norm_f.weight"], EPS) @ w["tok_emb.weight"].T, 0.0


def write(w, folder):
    write_tensors(folder / "model.safetensors", w, {"format": "pt"})
    write_json(folder / "config.json", CONFIG)
