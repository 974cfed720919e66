"""SSMoELM at a width of 128: names, packing and formulas as in references/ssmoelm.py, two heads on one, eight
experts. What is packed is packed in training too: forwards go through the rounded weights, gradients past them."""

import torch
from torch.nn.functional import silu

from references.common import write_tensors
from references.ssmoelm import EPS, NAMES, pack
from training.layers import attention, rms_norm
from training.stories import VOCAB_SIZE

D, HEADS, KV_HEADS, HIDDEN, EXPERTS, TOP_K, LAYERS, BOS = 128, 2, 1, 64, 8, 2, 4, 0
# Seven on either side of zero, so that the same quants can be stored with an offset of 8 or 7.
FOUR_BITS = (-7, 7)
# Weight of the loss that keeps experts equally busy.
BALANCE = 0.01


def layout():
    """{key: (shape, bits)} in the order of the file; bits None: plain f16."""
    names, out = NAMES["proj"], {}

    def add(name, *shape, bits=None, **numbers):
        out[names[name].format(**numbers)] = (shape, bits)

    add("embedding", VOCAB_SIZE, D, bits=FOUR_BITS)
    for i in range(LAYERS):
        v_o_bits = FOUR_BITS if i in (0, LAYERS - 1) else "1-bit"
        add("attention_norm", D, layer=i)
        add("q", HEADS * 64, D, bits=FOUR_BITS, layer=i)
        add("k", KV_HEADS * 64, D, bits=FOUR_BITS, layer=i)
        add("v", KV_HEADS * 64, D, bits=v_o_bits, layer=i)
        add("o", D, HEADS * 64, bits=v_o_bits, layer=i)
        add("mlp_norm", D, layer=i)
        add("router", EXPERTS, D, layer=i)
        for part, rows, cols in (("gate", HIDDEN, D), ("up", HIDDEN, D), ("down", D, HIDDEN)):
            for e in range(EXPERTS):
                add("expert", rows, cols, bits="1-bit", layer=i, expert=e, part=names[part])
            add("shared", rows, cols, bits=FOUR_BITS, layer=i, part=names[part])
    add("final_norm", D)
    return out


def parameters():
    """{name: tensor} before training."""
    return {key: torch.ones(shape) if len(shape) == 1 else torch.randn(shape) / shape[-1] ** 0.5
            for key, (shape, _) in layout().items()}


def rounded(w, bits):
    """`w` as `pack` stores it; the gradient of `w` itself."""
    with torch.no_grad():
        if bits == "1-bit":
            near = torch.where(w >= 0, 1.0, -1.0) * w.abs().mean(1, keepdim=True)
        else:
            scale = w.abs().amax(1, keepdim=True) / bits[1]
            near = (w / scale).round() * scale
    return w + (near - w).detach()


def logits(parameters, ids):
    """[batch, n, vocab], and the loss that keeps experts equally busy."""
    names, balance = NAMES["proj"], 0.0
    w = {key: parameters[key] if bits is None else rounded(parameters[key], bits)
         for key, (_, bits) in layout().items()}

    def weight(kind, **numbers):
        return w[names[kind].format(**numbers)]

    def swiglu(kind, x, **numbers):
        gate, up, down = (weight(kind, part=names[part], **numbers) for part in ("gate", "up", "down"))
        return (silu(x @ gate.T) * (x @ up.T)) @ down.T

    embedding = weight("embedding")
    x = embedding[ids]
    for i in range(LAYERS):
        a = rms_norm(x, weight("attention_norm", layer=i), EPS)
        q, k, v = (a @ weight(m, layer=i).T for m in ("q", "k", "v"))
        x = x + attention(q, k, v, interleaved=False) @ weight("o", layer=i).T
        m = rms_norm(x, weight("mlp_norm", layer=i), EPS)
        flat = m.flatten(0, 1)
        p = (flat @ weight("router", layer=i).T).softmax(-1)
        chosen, best = p.topk(TOP_K)
        routing = chosen / chosen.sum(-1, keepdim=True)
        mixed = torch.zeros_like(flat)
        for e in range(EXPERTS):
            tokens, slots = (best == e).nonzero(as_tuple=True)
            y = swiglu("expert", flat[tokens], layer=i, expert=e)
            mixed = mixed.index_add(0, tokens, y * routing[tokens, slots, None])
        busy = torch.bincount(best.flatten(), minlength=EXPERTS) / best.numel()
        balance = balance + BALANCE * EXPERTS * (busy * p.mean(0)).sum()
        x = x + mixed.view_as(m) + swiglu("shared", m, layer=i)
    return rms_norm(x, weight("final_norm"), EPS) @ embedding.T, balance


def write(w, folder):
    tensors = {}
    for key, (_, bits) in layout().items():
        tensors |= {key: w[key].half()} if bits is None else pack(key, w[key].numpy(), bits, flat=False)
    write_tensors(folder / "model.safetensors", tensors)
