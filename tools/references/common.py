"""What the references share: the pieces of a decoder that all families spell the same way, in float64 torch.

Activations are [n, width] for the n tokens of one sequence that starts at position 0; nothing is cached.
"""

import json
import math

import torch
from safetensors import safe_open
from safetensors.torch import save_file

REAL = torch.float64


def rms_norm(x, weight, eps):
    """x · weight / sqrt(mean(x²) + eps), over the last axis; no weight means 1."""
    normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    return normed if weight is None else normed * weight


def rope(x, theta, interleaved=False):
    """Turns x [n, heads, head_dim] at position t by the angle t · theta^(−2i/head_dim) in pair i.

    Pair i is (i, i + head_dim/2), or (2i, 2i + 1) where interleaved.
    """
    n, _, head_dim = x.shape
    frequency = theta ** (-torch.arange(0, head_dim, 2, dtype=REAL) / head_dim)
    angle = (torch.arange(n, dtype=REAL)[:, None] * frequency)[:, None]
    cos, sin = angle.cos(), angle.sin()
    a, b = (x[..., 0::2], x[..., 1::2]) if interleaved else x.chunk(2, dim=-1)
    turned = (a * cos - b * sin, b * cos + a * sin)
    return torch.stack(turned, dim=-1).flatten(-2) if interleaved else torch.cat(turned, dim=-1)


def attention(q, k, v):
    """Causal softmax(q·k / sqrt(head_dim)) · v of q [n, heads, head_dim] and k, v [n, kv heads, head_dim].

    The result is [n, heads·head_dim]. Each key-value head serves heads / kv heads query heads in a row.
    """
    n, heads, head_dim = q.shape
    k, v = (x.repeat_interleave(heads // x.shape[1], dim=1) for x in (k, v))
    scores = torch.einsum("qhc,khc->hqk", q, k) / math.sqrt(head_dim)
    scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
    return torch.einsum("hqk,khc->qhc", scores.softmax(-1), v).flatten(1)


class Choices:
    """What routers decided: `gaps`, per decision by how much the last expert chosen beats the first one left out,
    relative to the former's score; `moved`, how many decisions a selection bias changed."""

    def __init__(self):
        self.gaps, self.moved = [], 0


def top_k(scores, k, choices):
    """Ids [n, k] of the k largest scores of each row, best first."""
    best = scores.sort(dim=-1, descending=True)
    last, next_one = best.values[:, k - 1], best.values[:, k]
    choices.gaps += ((last - next_one) / last.abs()).tolist()
    return best.indices[:, :k]


def mixture(x, ids, weights, expert):
    """Σ_j weights[t, j] · expert(ids[t, j], x[t]) for every token t: [n, width of an expert's output]."""
    rows = []
    for row, chosen, weight in zip(x, ids.tolist(), weights):
        rows.append(sum(w * expert(e, row) for e, w in zip(chosen, weight)))
    return torch.stack(rows)


def draw(rng, kind, shape, fan_in):
    """Random float64 weights, so wide that logits spread over several units and routers choose clearly."""
    values = torch.tensor(rng.standard_normal(shape))
    if kind == "norm":
        return 1 + 0.2 * values
    width = {"embedding": 3, "router": 3, "matrix": 1.3, "after squares": 0.5}[kind]
    return width / math.sqrt(fan_in) * values


def read_tensors(folder):
    """Every tensor of the folder's safetensors files, integers as they are and floats as float64."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                tensor = file.get_tensor(name)
                tensors[name] = tensor.to(REAL) if tensor.is_floating_point() else tensor
    return tensors


def below(w, prefix):
    """The tensors whose names start with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in w.items() if name.startswith(prefix)}


def write_tensors(path, tensors, metadata=None):
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    path.chmod(0o644)
    if metadata and len(metadata) > 1:
        sort_metadata(path)


def sort_metadata(path):
    """Sorts the keys of `__metadata__`, which `save_file` writes in an order of its own each time."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    path.write_bytes(data[:8] + text.ljust(end - 8) + data[end:])


def read_json(path):
    return json.loads(path.read_text())
