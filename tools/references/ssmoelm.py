"""SSMoELM: the packed file layout, tiny random checkpoints, and the forward pass from its formulas.

A repository holds model.safetensors and tokenizer.json, and no config.json. A matrix `key` [rows, cols] = [out, in]
is packed row by row, and comes as

    key__scale   f16 [rows]
    key__bin     u8, cols/8 bytes a row: numpy's packbits, first column in the highest bit; W = scale·(2·bit − 1)
    or key__int4 u8, cols/2 bytes a row: even column in the low nibble;                     W = scale·(nibble − 8)
    key__shape   i32 [2]: rows, cols
    key__cols    i32: cols

Routers and norms are plain f16. Bits: routed experts 1; shared expert, q and k 4; v and o 4 in the first and in the
last stored layer and 1 between; the embedding 4, or 3 in nibbles (−4 to 3, stored as 4 to 11) in the 5L model.

The published key names are not known. Two plausible ways are written, see NAMES; the second also has the packed
bytes as one flat array, key__cols as a scalar, no final norm (scale 1), and names layers by their ids.

`__metadata__` of the 5L model has two lists as JSON: layer_ids, the layers that are stored, and pass_order, the
layers that are run, by id; a layer that is run twice has a key-value cache for each time.
"""

import json
import shutil

import numpy as np
import torch
from safetensors import safe_open
from torch.nn.functional import silu

from references import vocabularies
from references.common import attention, draw, mixture, read_tensors, rms_norm, rope, top_k, write_tensors
from tiny_models import VOCAB_SIZE

D, HEAD_DIM, HEADS, KV_HEADS = 128, 64, 2, 1
HIDDEN, EXPERTS, TOP_K = 64, 4, 2
THETA, EPS = 10000.0, 1e-5

# {layer}, {expert}: numbers. "expert" and "shared" take one of gate, up, down.
NAMES = {
    "proj": {
        "embedding": "embed.weight", "final_norm": "norm.weight",
        "attention_norm": "layers.{layer}.attn_norm.weight", "mlp_norm": "layers.{layer}.mlp_norm.weight",
        "q": "layers.{layer}.attn.q_proj.weight", "k": "layers.{layer}.attn.k_proj.weight",
        "v": "layers.{layer}.attn.v_proj.weight", "o": "layers.{layer}.attn.o_proj.weight",
        "router": "layers.{layer}.moe.router.weight", "expert": "layers.{layer}.moe.experts.{expert}.{part}.weight",
        "shared": "layers.{layer}.moe.shared.{part}.weight",
        "gate": "gate_proj", "up": "up_proj", "down": "down_proj",
    },
    "w123": {
        "embedding": "tok_embeddings.weight", "final_norm": "norm.weight",
        "attention_norm": "blocks.{layer}.attention_norm.weight", "mlp_norm": "blocks.{layer}.ffn_norm.weight",
        "q": "blocks.{layer}.attention.wq.weight", "k": "blocks.{layer}.attention.wk.weight",
        "v": "blocks.{layer}.attention.wv.weight", "o": "blocks.{layer}.attention.wo.weight",
        "router": "blocks.{layer}.ffn.gate.weight", "expert": "blocks.{layer}.ffn.experts.{expert}.{part}.weight",
        "shared": "blocks.{layer}.ffn.shared_expert.{part}.weight",
        "gate": "w1", "up": "w3", "down": "w2",
    },
}
CHECKPOINTS = {
    "tiny-ssmoelm": {"seed": 3, "names": "proj", "layer_ids": [0, 1, 2], "embedding": (-8, 7)},
    "tiny-ssmoelm-5l": {
        # No expert is chosen by less than a fiftieth of its probability: whole numbers may move that by a few thousandths.
        "seed": 6, "names": "w123", "layer_ids": [0, 1, 3], "pass_order": [0, 1, 1, 3], "embedding": (-4, 3),
        "flat": True,
    },
}


def logits(folder, ids, choices):
    """Logits [n, vocab] after each of `ids`, from the files of `folder`; `choices` receives what routers decided."""
    metadata, w = read_packed(folder)
    names = next(names for names in NAMES.values() if names["embedding"] in w)

    def weight(kind, **numbers):
        return w[names[kind].format(**numbers)]

    def swiglu(kind, x, **numbers):
        gate, up, down = (weight(kind, part=names[part], **numbers) for part in ("gate", "up", "down"))
        return (silu(x @ gate.T) * (x @ up.T)) @ down.T

    n, embedding = len(ids), weight("embedding")
    stored = [i for i in range(len(w)) if names["router"].format(layer=i) in w]
    x = embedding[torch.tensor(ids).long()]
    for i in json.loads(metadata.get("pass_order", str(stored))):
        a = rms_norm(x, weight("attention_norm", layer=i), EPS)
        q, k, v = ((a @ weight(m, layer=i).T).view(n, -1, HEAD_DIM) for m in ("q", "k", "v"))
        x = x + attention(rope(q, THETA), rope(k, THETA), v) @ weight("o", layer=i).T
        m = rms_norm(x, weight("mlp_norm", layer=i), EPS)
        # The two best of softmax(router m), their weights divided by their sum; the shared expert has weight 1.
        p = (m @ weight("router", layer=i).T).softmax(-1)
        best = top_k(p, TOP_K, choices)
        chosen = p.gather(1, best)
        routing = chosen / chosen.sum(-1, keepdim=True)
        x = x + mixture(m, best, routing, lambda e, row: swiglu("expert", row, layer=i, expert=e))
        x = x + swiglu("shared", m, layer=i)
    return rms_norm(x, w.get(names["final_norm"]), EPS) @ embedding.T


def read_packed(folder):
    """(`__metadata__`, {key: float64 tensor}) with every packed matrix unpacked."""
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        metadata = file.metadata() or {}
    stored, out = read_tensors(folder), {}
    for name, tensor in stored.items():
        key, _, part = name.partition("__")
        if not part:
            out[name] = tensor
        elif part in ("bin", "int4"):
            rows, cols = stored[f"{key}__shape"].tolist()
            data = tensor.numpy().reshape(rows, -1)
            q = unpack_bits(data) if part == "bin" else unpack_nibbles(data)
            assert q.shape[1] >= cols == int(stored[f"{key}__cols"])
            scale = stored[f"{key}__scale"]
            out[key] = scale[:, None] * torch.tensor(q[:, :cols]).to(scale)
    return metadata, out


def unpack_bits(data):
    return 2 * np.unpackbits(data, axis=1).astype(int) - 1


def unpack_nibbles(data):
    return np.stack([data & 15, data >> 4], axis=-1).reshape(len(data), -1).astype(int) - 8


def write_checkpoint(name, folder):
    """Writes the folder of the checkpoint `name`: packed weights and tokenizer."""
    spec = CHECKPOINTS[name]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng, tensors = np.random.default_rng(spec["seed"]), {}
    for key, (kind, shape, bits) in shapes(spec).items():
        values = draw(rng, kind, shape, shape[-1])
        tensors |= {key: values.half()} if bits is None else pack(key, values.numpy(), bits, spec.get("flat", False))
    metadata = None
    if "pass_order" in spec:
        metadata = {name: json.dumps(spec[name]) for name in ("layer_ids", "pass_order")}
    write_tensors(folder / "model.safetensors", tensors, metadata)
    vocabularies.ssmoelm().save(str(folder / "tokenizer.json"), pretty=False)


def pack(key, values, bits, flat):
    """The entries of one matrix; `bits` is "1-bit" or the (lowest, highest) quant of nibbles."""
    rows, cols = values.shape
    if bits == "1-bit":
        part, scale = "bin", np.abs(values).mean(axis=1)
        data = np.packbits(values >= 0, axis=1)
    else:
        low, high = bits
        part, scale = "int4", np.maximum(values.max(axis=1) / high, values.min(axis=1) / low)
        nibbles = (np.clip(np.rint(values / scale[:, None]), low, high) + 8).astype(np.uint8)
        data = nibbles[:, 0::2] | nibbles[:, 1::2] << 4
    return {
        f"{key}__scale": torch.tensor(scale).half(),
        f"{key}__{part}": torch.tensor(data.reshape(-1) if flat else data),
        f"{key}__shape": torch.tensor([rows, cols], dtype=torch.int32),
        f"{key}__cols": torch.tensor(cols if flat else [cols], dtype=torch.int32),
    }


def shapes(spec):
    """{key: (kind, shape, bits)} in the order of the file; bits None: plain f16."""
    names, out = NAMES[spec["names"]], {}
    four_bits = (-8, 7)

    def add(kind, name, *shape, bits=None, **numbers):
        out[names[name].format(**numbers)] = (kind, shape, bits)

    add("embedding", "embedding", VOCAB_SIZE, D, bits=spec["embedding"])
    for i in spec["layer_ids"]:
        at_an_end = i in (spec["layer_ids"][0], spec["layer_ids"][-1])
        v_o_bits = four_bits if at_an_end else "1-bit"
        add("norm", "attention_norm", D, layer=i)
        add("matrix", "q", HEADS * HEAD_DIM, D, bits=four_bits, layer=i)
        add("matrix", "k", KV_HEADS * HEAD_DIM, D, bits=four_bits, layer=i)
        add("matrix", "v", KV_HEADS * HEAD_DIM, D, bits=v_o_bits, layer=i)
        add("matrix", "o", D, HEADS * HEAD_DIM, bits=v_o_bits, layer=i)
        add("norm", "mlp_norm", D, layer=i)
        add("router", "router", EXPERTS, D, layer=i)
        for part, rows, cols in (("gate", HIDDEN, D), ("up", HIDDEN, D), ("down", D, HIDDEN)):
            for e in range(EXPERTS):
                add("matrix", "expert", rows, cols, bits="1-bit", layer=i, expert=e, part=names[part])
            add("matrix", "shared", rows, cols, bits=four_bits, layer=i, part=names[part])
    if "pass_order" not in spec:
        add("norm", "final_norm", D)
    return out
