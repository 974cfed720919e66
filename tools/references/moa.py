"""MoA-Metric-LM (`moa_metric`): a reading of its cards, tiny random checkpoints, and the forward pass from formulas.

The author's code and the names in the file were never published. What the cards say is kept; where they leave a
formula open, this is the reading:

    x = embed[token]
    x = x + scale1 · Σ_p w_p · gate_p · path_p(norm1(x))     paths: local_conv, attn, channel_mix, mqa
    x = x + scale2 · Σ_b w_b · branch_b(norm2(x))            branches of HyperFFN: mlp, conv, low_rank
    logits = norm(x) · embedᵀ

    weights w      softmax((fc2(silu(fc1(h))) + bias) / T), all but the top k set to 0, the rest divided by their sum
    gate_p         2 · sigmoid(vector [d])
    conv           pointwise(silu(depthwise)), depthwise: Σ_j w[c, j] · x[t − (k − 1) + j, c] + bias, where rows
                   before t = 0 are zeros
    channel_mix    fc2(gelu(fc1(h))), gelu by erf;   mlp, low_rank: down(silu(gate(h)) · up(h))
    attention      softmax of scores over the keys up to t, times v; then down(silu(gate(·)) · up(·))
        l2         −α ‖q − k‖² / sqrt(head_dim)
        cosine     α · q·k / (‖q‖ ‖k‖)
        maha_diag  −α Σ_c m_c (q_c − k_c)²
        α, m       softplus of what is stored, per head, and per head and dimension
        balls      the score of a key with ‖k − origin‖ > radius (Euclidean, per query head) is −1e30
        mqa        one key/value head for all query heads
    BlackHoleRoPE  pair i (i, i + head_dim/2) turns by t · theta^(−2i/head_dim) + phase_i(t), in q and in k;
                   v times energy_min + (energy_max − energy_min) · sigmoid(energy(t)), per value head;
                   phase and energy are linear in cos(2π r t / P), r = 1..R, then the sines; P = max_position.
                   The discrepancy signal is not described anywhere and left out.
    norm           LayerNorm where it has a bias, otherwise RMSNorm

"tiny-moa-cosine" has names and a few formulas of its own; its thimble.json holds the recipe for them.
"""

import json
import math
import shutil

import numpy as np
import torch
from torch.nn.functional import gelu, silu, softplus

from references.common import REAL, below, draw, read_json, read_tensors, rms_norm, write_tensors
from tiny_models import VOCAB_SIZE, write_json, write_tokenizer

EPS, MASKED = 1e-5, -1e30
PATHS, BRANCHES = ("local_conv", "attn", "channel_mix", "mqa"), ("mlp", "conv", "low_rank")
PROJECTOR = ("gate", "up", "down")
ENERGY = (0.5, 2.0)

COMMON = {
    "architectures": ["MoAMetricLM"], "model_type": "moa_metric", "vocab_size": VOCAB_SIZE, "num_layers": 2,
    "router_temperature": 2.0, "theta_base": 10000.0, "max_position": 256, "tie_word_embeddings": True,
    "energy_min": ENERGY[0], "energy_max": ENERGY[1], "torch_dtype": "float32",
}
CHECKPOINTS = {
    "tiny-moa-l2": {
        "seed": 1, "hidden": 24, "kernel": 3, "biases": False,
        "config": COMMON | {
            "dim": 16, "attn_heads": 2, "mqa_q_heads": 4, "metric": "l2", "router_topk": 3, "r_basis": 3,
            "use_balls": False,
        },
    },
    "tiny-moa-maha": {
        "seed": 2, "hidden": 12, "kernel": 5, "biases": True,
        "config": COMMON | {
            "dim": 24, "attn_heads": 3, "mqa_q_heads": 2, "metric": "maha_diag", "router_topk": 2, "r_basis": 2,
            "use_balls": True, "router_temperature": 1.25,
        },
    },
    "tiny-moa-cosine": {
        "seed": 3, "hidden": 24, "kernel": 4, "biases": False,
        "config": {
            "model_type": "moa_metric", "vocab_size": VOCAB_SIZE, "max_position": 256, "n_head": 2,
        },
    },
}


def logits(folder, ids, choices):
    """Logits [n, vocab] after each of `ids`, from the files of `folder`."""
    config, w = read_json(folder / "config.json"), read_tensors(folder)
    if folder.name == "tiny-moa-cosine":
        return cosine_logits(config, w, ids)
    x = w["embed.weight"][torch.tensor(ids).long()]
    for i in range(config["num_layers"]):
        x = block(x, below(w, f"blocks.{i}."), config, choices)
    return norm(x, below(w, "norm.")) @ w["embed.weight"].T


def block(x, w, config, choices):
    h = norm(x, below(w, "norm1."))
    paths = {
        "local_conv": local_conv(h, below(w, "local_conv.")),
        "attn": attention(h, below(w, "attn."), config, "rope_global", config["attn_heads"], config["attn_heads"]),
        "channel_mix": linear(gelu(linear(h, w, "channel_mix.fc1")), w, "channel_mix.fc2"),
        "mqa": attention(h, below(w, "mqa."), config, "rope_mqa", config["mqa_q_heads"], 1),
    }
    weights = router(h, below(w, "router."), config["router_topk"], config["router_temperature"], choices)
    mixed = sum(weights[:, [i]] * 2 * torch.sigmoid(w[f"gates.{p}"]) * paths[p] for i, p in enumerate(PATHS))
    x = x + w["scale1"] * mixed
    h = norm(x, below(w, "norm2."))
    branches = {
        "mlp": gated(h, below(w, "ffn.mlp.")), "conv": local_conv(h, below(w, "ffn.conv.")),
        "low_rank": gated(h, below(w, "ffn.low_rank.")),
    }
    weights = router(h, below(w, "ffn.router."), 2, config["router_temperature"], choices)
    return x + w["scale2"] * sum(weights[:, [i]] * branches[b] for i, b in enumerate(BRANCHES))


def attention(h, w, config, rope, n_heads, n_kv_heads):
    """[n, d] to [n, d] by metric attention with BlackHoleRoPE and the gated projector."""
    n, metric = len(h), config["metric"]
    counts = {"q": n_heads, "k": n_kv_heads, "v": n_kv_heads}
    q, k, v = (linear(h, w, f"{m}_proj").view(n, heads, -1) for m, heads in counts.items())
    head_dim = q.shape[-1]
    basis = fourier(n, config["r_basis"], config["max_position"])
    phase = linear(basis, w, f"{rope}.phase")
    low, high = config["energy_min"], config["energy_max"]
    v = v * (low + (high - low) * torch.sigmoid(linear(basis, w, f"{rope}.energy")))[..., None]
    q, k = (turn(x, config["theta_base"], phase) for x in (q, k))
    k, v = (x.expand(n, n_heads, head_dim) for x in (k, v))
    square = (q[:, None] - k[None]) ** 2  # [query, key, head, head_dim]
    if metric == "l2":
        scores = -square.sum(-1) / math.sqrt(head_dim)
    else:
        scores = -(softplus(w["diagonal"]) * square).sum(-1)
    scores = softplus(w["alpha"]) * scores
    if config["use_balls"]:
        beyond = (k - w["origin"]).norm(dim=-1) - w["radius"]
        assert beyond.abs().min() > 1e-5, "a key lies on the edge of a ball; take another seed"
        scores = scores.masked_fill((beyond > 0)[None], MASKED)
    return gated(mix(scores, v), below(w, "projector."))


def mix(scores, v):
    """softmax over the keys [query, key, head] up to each query, times v [key, head, head_dim]."""
    n = len(v)
    scores = scores.masked_fill(torch.ones(n, n).triu(1).bool()[..., None], -torch.inf)
    return torch.einsum("qkh,khc->qhc", scores.softmax(1), v).flatten(1)


def turn(x, theta, phase):
    """x [n, heads, head_dim] by t · theta^(−2i/head_dim) + phase [n, head_dim/2]."""
    n, _, head_dim = x.shape
    frequency = theta ** (-torch.arange(0, head_dim, 2, dtype=REAL) / head_dim)
    angle = (torch.arange(n, dtype=REAL)[:, None] * frequency + phase)[:, None]
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], dim=-1)


def fourier(n, r_basis, period):
    """[n, 2R]: cosines of the R harmonics, then sines."""
    angle = 2 * math.pi * torch.arange(n, dtype=REAL)[:, None] * torch.arange(1, r_basis + 1, dtype=REAL) / period
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def router(h, w, k, temperature, choices):
    """[n, paths]: 0 for the paths that were not chosen; the others sum to 1."""
    scores = ((linear(silu(linear(h, w, "fc1")), w, "fc2") + w.get("offset", 0)) / temperature).softmax(-1)
    best = scores.sort(dim=-1, descending=True)
    if k < scores.shape[1]:
        last, next_one = best.values[:, k - 1], best.values[:, k]
        choices.gaps += ((last - next_one) / last).tolist()
    kept = torch.zeros_like(scores).scatter(1, best.indices[:, :k], best.values[:, :k])
    return kept / kept.sum(-1, keepdim=True)


def local_conv(h, w):
    return linear(silu(depthwise(h, w["depthwise.weight"], w.get("depthwise.bias"))), w, "pointwise")


def depthwise(h, kernel, bias=None):
    """Causal; kernel [d, 1, k]."""
    y = torch.nn.functional.conv1d(
        torch.nn.functional.pad(h.T[None], (kernel.shape[-1] - 1, 0)), kernel, bias, groups=len(kernel),
    )
    return y[0].T


def gated(h, w):
    return linear(silu(linear(h, w, "gate")) * linear(h, w, "up"), w, "down")


def linear(x, w, name):
    y = x @ w[f"{name}.weight"].T
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def norm(x, w):
    if "bias" not in w:
        return rms_norm(x, w["weight"], EPS)
    return torch.nn.functional.layer_norm(x, x.shape[-1:], w["weight"], w["bias"], EPS)


def cosine_logits(config, w, ids):
    """The third checkpoint: two paths of equal names in one mixture without top k, a gate from the token, α by exp."""
    x = w["wte"][torch.tensor(ids).long()]
    for i in range(2):
        layer = below(w, f"h.{i}.")
        h = norm(x, below(layer, "ln."))
        heads, n = config["n_head"], len(h)
        q, k, v = (linear(h, layer, f"attn.{m}").view(n, heads, -1) for m in "qkv")
        q, k = (turn(part, 500.0, torch.zeros(n, 1, dtype=REAL)) for part in (q, k))
        q, k = (part / part.norm(dim=-1, keepdim=True) for part in (q, k))
        attended = linear(mix(layer["attn.scale"].exp() * torch.einsum("qhc,khc->qkh", q, k), v), layer, "attn.o")
        convolved = depthwise(h, layer["conv.weight"])
        weights = linear(h, layer, "mixer").softmax(-1)
        mixed = weights[:, [0]] * attended + weights[:, [1]] * convolved
        x = x + 2 * torch.sigmoid(linear(h, layer, "gate")) * mixed
        x = x + linear(gelu(linear(x, layer, "mlp.in"), approximate="tanh"), layer, "mlp.out")
    return norm(x, below(w, "ln_f.")) @ w["lm_head.weight"].T


COSINE_RECIPE = {
    "embedding": "wte",
    "head": "lm_head.weight",
    "layers": "h.{}",
    "layer": [
        {"residual": [
            {"norm": {"name": "ln"}},
            {"gate": {"by": [{"linear": "gate"}], "of": [{"mix": {
                "router": [{"linear": "mixer"}],
                "paths": [
                    [
                        {"attention": {
                            "metric": "cosine", "heads": "$n_head", "q": "attn.q", "k": "attn.k", "v": "attn.v",
                            "alpha": {"name": "attn.scale", "map": "exp"}, "rope": {"theta": 500.0},
                        }},
                        {"linear": "attn.o"},
                    ],
                    [{"conv": "conv"}],
                ],
            }}]}},
        ]},
        {"residual": [{"linear": "mlp.in"}, {"function": "gelu_pytorch_tanh"}, {"linear": "mlp.out"}]},
    ],
    "final": [{"norm": {"name": "ln_f"}}],
    "ignored": ["attn.inv_freq"],
}


def write_checkpoint(name, folder):
    """Writes the folder of the checkpoint `name`: config, tokenizer, weights, and a recipe where it has its own."""
    spec = CHECKPOINTS[name]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(spec["seed"])
    tensors = {key: sample(rng, key, shape).float() for key, shape in shapes(name, spec).items()}
    write_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
    size = (folder / "model.safetensors").stat().st_size
    assert size <= 120 * 1024, f"{name}: {size} bytes"
    write_json(folder / "config.json", spec["config"])
    if name == "tiny-moa-cosine":
        (folder / "thimble.json").write_text(json.dumps({"recipe": COSINE_RECIPE}, indent=2) + "\n")
    write_tokenizer(folder)


def sample(rng, key, shape):
    last = key.split(".")[-1]
    normal = torch.tensor(rng.standard_normal(shape))
    if last in ("alpha", "diagonal"):
        return 0.5 + 0.7 * normal
    if last == "radius":
        return 4.2 + 0.6 * normal  # wide enough for most keys, and not for some
    if last in ("scale", "scale1", "scale2"):
        return 1 + 0.3 * normal
    if last == "bias":
        return 0.2 * normal
    if len(shape) == 1:
        return draw(rng, "norm", shape, 1) if "norm" in key or "ln" in key else normal
    if "embed" in key or "wte" in key:
        return draw(rng, "embedding", shape, shape[-1])
    return draw(rng, "router" if "router" in key else "matrix", shape, shape[-1])


def shapes(name, spec):
    """{name: shape} in the order of the file."""
    if name == "tiny-moa-cosine":
        return cosine_shapes(spec)
    config, d = spec["config"], spec["config"]["dim"]
    out = {"embed.weight": (VOCAB_SIZE, d)}
    for i in range(config["num_layers"]):
        out |= {f"blocks.{i}.{key}": shape for key, shape in block_shapes(spec).items()}
    return out | norms(spec, "norm")


def block_shapes(spec):
    config, hidden, kernel = spec["config"], spec["hidden"], spec["kernel"]
    d, n_paths, n_branches = config["dim"], len(PATHS), len(BRANCHES)

    def linears(**sizes):
        named = {name.replace("__", "."): size for name, size in sizes.items()}
        out = {f"{name}.weight": size for name, size in named.items()}
        return out | ({f"{name}.bias": size[:1] for name, size in named.items()} if spec["biases"] else {})

    out = norms(spec, "norm1") | norms(spec, "norm2") | {"scale1": (d,), "scale2": (d,)}
    out |= {f"gates.{p}": (d,) for p in PATHS}
    for at in ("local_conv", "ffn.conv"):
        out |= {f"{at}.depthwise.weight": (d, 1, kernel)} | linears(**{f"{at}.pointwise": (d, d)})
        out |= {f"{at}.depthwise.bias": (d,)} if spec["biases"] else {}
    out |= linears(channel_mix__fc1=(hidden, d), channel_mix__fc2=(d, hidden))
    for at, heads, kv_heads, rope in (
        ("attn", config["attn_heads"], config["attn_heads"], "rope_global"),
        ("mqa", config["mqa_q_heads"], 1, "rope_mqa"),
    ):
        head_dim = d // heads
        kv_width = kv_heads * head_dim
        out |= linears(**{f"{at}.q_proj": (d, d), f"{at}.k_proj": (kv_width, d), f"{at}.v_proj": (kv_width, d)})
        out |= {f"{at}.alpha": (heads,)}
        if config["metric"] == "maha_diag":
            out |= {f"{at}.diagonal": (heads, head_dim)}
        out |= {f"{at}.origin": (heads, head_dim), f"{at}.radius": (heads,)}
        out |= {f"{at}.{rope}.phase.weight": (head_dim // 2, 2 * config["r_basis"])}
        out |= {f"{at}.{rope}.energy.weight": (kv_heads, 2 * config["r_basis"])}
        out |= {f"{at}.{rope}.energy.bias": (kv_heads,)}
        out |= linears(**{f"{at}.projector.{m}": (d, hidden) if m == "down" else (hidden, d) for m in PROJECTOR})
    for at, n in (("router", n_paths), ("ffn.router", n_branches)):
        out |= linears(**{f"{at}.fc1": (12, d), f"{at}.fc2": (n, 12)}) | {f"{at}.offset": (n,)}
    for at, width in (("mlp", hidden), ("low_rank", 4)):
        out |= linears(**{f"ffn.{at}.gate": (width, d), f"ffn.{at}.up": (width, d), f"ffn.{at}.down": (d, width)})
    return out


def norms(spec, at):
    d = spec["config"]["dim"]
    return {f"{at}.weight": (d,)} | ({f"{at}.bias": (d,)} if spec["biases"] else {})


def cosine_shapes(spec):
    d, hidden, heads = 24, spec["hidden"], spec["config"]["n_head"]
    layer = {"ln.weight": (d,), "ln.bias": (d,), "attn.scale": (heads,), "attn.inv_freq": (d // heads // 2,)}
    layer |= {f"attn.{m}.weight": (d, d) for m in "qkvo"}
    layer |= {"conv.weight": (d, 1, spec["kernel"]), "mixer.weight": (2, d), "mixer.bias": (2,), "gate.weight": (d, d)}
    layer |= {"mlp.in.weight": (hidden, d), "mlp.in.bias": (hidden,), "mlp.out.weight": (d, hidden)}
    out = {"wte": (VOCAB_SIZE, d)} | {f"h.{i}.{key}": shape for i in range(2) for key, shape in layer.items()}
    return out | {"ln_f.weight": (d,), "ln_f.bias": (d,), "lm_head.weight": (VOCAB_SIZE, d)}
