"""A second opinion on moa.py, which no model of transformers can give: token by token with caches, in NumPy, with
complex numbers for the rotations and squared distances multiplied out. It shares only the description with moa.py."""

import json
import math

import numpy as np
from safetensors.numpy import load_file


def twin(folder):
    """ids [n] to logits [n, vocab]."""
    config = json.loads((folder / "config.json").read_text())
    w = {name: tensor.astype(np.float64) for name, tensor in load_file(folder / "model.safetensors").items()}
    step = cosine_step if "wte" in w else full_step

    def logits_of(ids):
        caches = {}
        return np.stack([step(config, w, caches, t, int(i)) for t, i in enumerate(ids)]).astype(np.float32)

    return logits_of


def full_step(config, w, caches, t, token):
    p = Reader(w, caches, config)
    x = w["embed.weight"][token]
    for i in range(config["num_layers"]):
        at = f"blocks.{i}."
        h = p.norm(at + "norm1", x)
        chosen = p.route(at + "router.", h, config["router_topk"])
        outputs = [
            p.separable(at + "local_conv.", h),
            p.attend(at + "attn.", "rope_global", h, t, config["attn_heads"], config["attn_heads"]),
            p.affine(at + "channel_mix.fc2", gelu(p.affine(at + "channel_mix.fc1", h))),
            p.attend(at + "mqa.", "rope_mqa", h, t, config["mqa_q_heads"], 1),
        ]
        for name, weight, y in zip(("local_conv", "attn", "channel_mix", "mqa"), chosen, outputs):
            x = x + w[at + "scale1"] * weight * y * (1 + np.tanh(w[f"{at}gates.{name}"] / 2))
        h = p.norm(at + "norm2", x)
        chosen = p.route(at + "ffn.router.", h, 2)
        outputs = [p.glu(at + "ffn.mlp.", h), p.separable(at + "ffn.conv.", h), p.glu(at + "ffn.low_rank.", h)]
        x = x + w[at + "scale2"] * sum(weight * y for weight, y in zip(chosen, outputs))
    return w["embed.weight"] @ p.norm("norm", x)


class Reader:
    def __init__(self, w, caches, config):
        self.w, self.caches, self.config = w, caches, config

    def affine(self, name, x):
        return self.w[f"{name}.weight"] @ x + self.w.get(f"{name}.bias", 0)

    def norm(self, name, x):
        bias = self.w.get(f"{name}.bias")
        x = x if bias is None else x - x.mean()
        return x / np.sqrt((x * x).mean() + 1e-5) * self.w[f"{name}.weight"] + (0 if bias is None else bias)

    def glu(self, at, x):
        return self.affine(at + "down", silu(self.affine(at + "gate", x)) * self.affine(at + "up", x))

    def rows(self, name, row):
        """The cache `name` with `row` as its newest."""
        self.caches.setdefault(name, []).append(row)
        return self.caches[name]

    def convolve(self, at, x):
        kernel = self.w[at + ".weight"][:, 0]
        past = self.rows(at, x)[-kernel.shape[1]:]
        return sum(kernel[:, -1 - back] * row for back, row in enumerate(reversed(past))) + self.w.get(at + ".bias", 0)

    def separable(self, at, x):
        return self.affine(at + "pointwise", silu(self.convolve(at + "depthwise", x)))

    def route(self, at, x, k):
        z = self.affine(at + "fc2", silu(self.affine(at + "fc1", x))) + self.w[at + "offset"]
        e = np.exp(z / self.config["router_temperature"])
        e[np.argsort(e)[:-k]] = 0
        return e / e.sum()

    def attend(self, at, rope, x, t, n_heads, n_kv_heads):
        w, config = self.w, self.config
        r = np.arange(1, config["r_basis"] + 1)
        wave = np.exp(2j * np.pi * r * t / config["max_position"])
        basis = np.concatenate([wave.real, wave.imag])
        energy = sigmoid(self.affine(f"{at}{rope}.energy", basis))
        energy = config["energy_min"] * (1 - energy) + config["energy_max"] * energy
        q, k, v = (self.affine(f"{at}{m}_proj", x) for m in "qkv")
        q, k, v = q.reshape(n_heads, -1), k.reshape(n_kv_heads, -1), v.reshape(n_kv_heads, -1) * energy[:, None]
        half = q.shape[1] // 2
        angle = t * config["theta_base"] ** (-np.arange(half) / half) + self.affine(f"{at}{rope}.phase", basis)
        turn = np.exp(1j * angle)
        q, k = (rotated(part, turn) for part in (q, k))
        keys, values = np.array(self.rows(at + "k", k)), np.array(self.rows(at + "v", v))
        out = []
        for head in range(n_heads):
            own = 0 if n_kv_heads == 1 else head
            k, v = keys[:, own], values[:, own]
            m = np.full(2 * half, 1 / np.sqrt(2 * half))
            if config["metric"] == "maha_diag":
                m = np.log1p(np.exp(w[at + "diagonal"][head]))
            m = m * np.log1p(np.exp(w[at + "alpha"][head]))
            # The query's own square is the same for all keys.
            scores = 2 * k @ (m * q[head]) - (k * k) @ m
            if config["use_balls"]:
                centre = w[at + "origin"][head]
                distance = np.sqrt((k * k).sum(1) - 2 * k @ centre + centre @ centre)
                scores[distance > w[at + "radius"][head]] = -1e30
            out.append(softmax(scores) @ v)
        return self.glu(at + "projector.", np.concatenate(out))


def cosine_step(config, w, caches, t, token):
    p = Reader(w, caches, config)
    x = w["wte"][token]
    for i in range(2):
        at, heads = f"h.{i}.", config["n_head"]
        h = p.norm(at + "ln", x)
        q, k, v = (p.affine(f"{at}attn.{m}", h).reshape(heads, -1) for m in "qkv")
        half = q.shape[1] // 2
        turn = np.exp(1j * t * 500.0 ** (-np.arange(half) / half))
        q, k = (rotated(part, turn) for part in (q, k))
        keys, values = np.array(p.rows(at + "k", k)), np.array(p.rows(at + "v", v))
        out = []
        for head in range(heads):
            k = keys[:, head]
            cosines = k @ q[head] / np.sqrt((k * k).sum(1) * (q[head] @ q[head]))
            out.append(softmax(np.exp(w[at + "attn.scale"][head]) * cosines) @ values[:, head])
        paths = [p.affine(at + "attn.o", np.concatenate(out)), p.convolve(at + "conv", h)]
        mixed = sum(weight * y for weight, y in zip(softmax(p.affine(at + "mixer", h)), paths))
        x = x + (1 + np.tanh(p.affine(at + "gate", h) / 2)) * mixed
        x = x + p.affine(at + "mlp.out", gelu_tanh(p.affine(at + "mlp.in", x)))
    return p.affine("lm_head", p.norm("ln_f", x))


def rotated(x, turn):
    first, second = np.split(x, 2, axis=1)
    z = (first + 1j * second) * turn
    return np.concatenate([z.real, z.imag], axis=1)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def sigmoid(x):
    return (1 + np.tanh(x / 2)) / 2


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    return x / 2 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


def gelu_tanh(x):
    return x * sigmoid(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
