"""Metis-1.5: the file layout, a tiny random checkpoint, and the forward pass from its formulas.

model.safetensors, all bf16. Every matrix is [in, out] (y = x·W), the transpose of what PyTorch stores:

    embed [vocab, d], final_norm.scale [d]                   the head is the embedding
    layers.i.attn_norm.scale, layers.i.moe_norm.scale [d]
    layers.i.{q, o} [d, d], layers.i.{k, v} [d, kv heads · head_dim]
    layers.i.latent_down [d, l], layers.i.latent_up [l, d]   into and out of the experts' latent space
    layers.i.router [d, E], layers.i.router_bias [E]
    layers.i.expert_w1 [E, l, h], layers.i.expert_w2 [E, h, l]
    layers.i.shared_w1 [d, h], layers.i.shared_w2 [h, d]     the expert that every token has

config.json tells the heads and the RoPE base. Its intermediate_size and hidden_act are stale, and it says nothing
of the experts: E, l and h follow from the shapes, and TOP_K, EPS, the sigmoid and the squared ReLU are constants.
"""

import shutil

import numpy as np
import torch

from references import vocabularies
from references.common import (
    attention, below, draw, mixture, read_json, read_tensors, rms_norm, rope, top_k, write_tensors,
)
from tiny_models import VOCAB_SIZE, write_json

TOP_K = 4
EPS = 1e-6
CHECKPOINTS = {
    "tiny-metis": {
        "seed": 2, "d": 48, "heads": 6, "kv_heads": 2, "head_dim": 8, "layers": 3, "experts": 8, "latent": 16,
        "hidden": 24,
    },
}
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' %}System: {{ message['content'] }}\n"
    "{% elif message['role'] == 'user' %}User: {{ message['content'] }}\n"
    "{% elif message['role'] == 'assistant' %}Assistant: {{ message['content'] }}\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}Assistant: {% endif %}"
)


def logits(folder, ids, choices):
    """Logits [n, vocab] after each of `ids`, from the files of `folder`; `choices` receives what routers decided."""
    config, w = read_json(folder / "config.json"), read_tensors(folder)
    heads, kv_heads, head_dim = (config[key] for key in ("n_heads", "n_kv_heads", "head_dim"))
    theta, n = config["rope_theta"], len(ids)
    x = w["embed"][torch.tensor(ids).long()]
    for i in range(config["n_layer"]):
        layer = below(w, f"layers.{i}.")
        a = rms_norm(x, layer["attn_norm.scale"], EPS)
        q = (a @ layer["q"]).view(n, heads, head_dim)
        k, v = ((a @ layer[m]).view(n, kv_heads, head_dim) for m in ("k", "v"))
        x = x + attention(rope(q, theta), rope(k, theta), v) @ layer["o"]
        x = x + latent_moe(layer, rms_norm(x, layer["moe_norm.scale"], EPS), choices)
    return rms_norm(x, w["final_norm.scale"], EPS) @ w["embed"].T


def latent_moe(layer, m, choices):
    """(Σ_e g_e · relu(z·w1_e)²·w2_e)·latent_up + relu(m·shared_w1)²·shared_w2, where z = m·latent_down.

    s = sigmoid(m·router). The experts with the largest s + router_bias are chosen; g = s / max(Σ chosen s, 1e-6):
    the bias has no part in the weights, and the router reads m, not z.
    """
    s = (m @ layer["router"]).sigmoid()
    ids = top_k(s + layer["router_bias"], TOP_K, choices)
    unbiased = s.topk(TOP_K).indices
    choices.moved += int((ids.sort().values != unbiased.sort().values).any(-1).sum())
    chosen = s.gather(1, ids)
    g = chosen / chosen.sum(-1, keepdim=True).clamp(min=1e-6)
    w1, w2 = layer["expert_w1"], layer["expert_w2"]
    routed = mixture(m @ layer["latent_down"], ids, g, lambda e, z: (z @ w1[e]).relu() ** 2 @ w2[e])
    return routed @ layer["latent_up"] + (m @ layer["shared_w1"]).relu() ** 2 @ layer["shared_w2"]


def write_checkpoint(name, folder):
    """Writes the folder of the checkpoint `name`: the published files."""
    spec = CHECKPOINTS[name]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(spec["seed"])
    tensors = {key: draw_tensor(rng, key, shape).to(torch.bfloat16) for key, shape in shapes(spec).items()}
    write_tensors(folder / "model.safetensors", tensors)
    n_weights = sum(tensor.numel() for tensor in tensors.values())
    write_json(folder / "config.json", published_config(spec, n_weights))
    write_json(folder / "export_meta.json", {
        "params": n_weights, "source_step": 70, "dtype": "bfloat16", "n_tensors": len(tensors),
        "format": "metis_jax_safetensors_v1",
    })
    write_tokenizer(folder)


def draw_tensor(rng, key, shape):
    """The matrices' input is their last axis but one."""
    if key.endswith("scale"):
        return draw(rng, "norm", shape, None)
    if key.endswith("router_bias"):
        return torch.tensor(0.08 * rng.standard_normal(shape))
    kinds = {"embed": "embedding", "expert_w2": "after squares", "shared_w2": "after squares"}
    return draw(rng, kinds.get(key.split(".")[-1], "matrix"), shape, shape[1] if key == "embed" else shape[-2])


def shapes(spec):
    """{name: shape}."""
    d, kv, latent, hidden, experts = (
        spec["d"], spec["kv_heads"] * spec["head_dim"], spec["latent"], spec["hidden"], spec["experts"],
    )
    out = {"embed": (VOCAB_SIZE, d), "final_norm.scale": (d,)}
    for i in range(spec["layers"]):
        out |= {f"layers.{i}.{name}": shape for name, shape in {
            "attn_norm.scale": (d,), "q": (d, d), "k": (d, kv), "v": (d, kv), "o": (d, d), "moe_norm.scale": (d,),
            "latent_down": (d, latent), "latent_up": (latent, d), "router": (d, experts), "router_bias": (experts,),
            "expert_w1": (experts, latent, hidden), "expert_w2": (experts, hidden, latent),
            "shared_w1": (d, hidden), "shared_w2": (hidden, d),
        }.items()}
    return out


def published_config(spec, n_weights):
    """config.json with the published keys: intermediate_size, hidden_act, estimated_params and mor_* mean nothing."""
    return {
        "architectures": ["MetisMoRLMHeadModel"], "model_type": "metis_multihead_latent_moe", "name": "Metis-1.5",
        "architecture": "metis_multihead_latent_moe_decoder", "vocab_size": VOCAB_SIZE, "block_size": 256,
        "d_model": spec["d"], "n_layer": spec["layers"], "n_heads": spec["heads"], "n_kv_heads": spec["kv_heads"],
        "head_dim": spec["head_dim"], "intermediate_size": 128, "hidden_act": "swiglu", "attn_cfg": {},
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "unk_token_id": 3, "rms_norm": True,
        "residual_in_fp32": False, "fused_add_norm": False, "pad_vocab_size_multiple": 16, "tie_embeddings": True,
        "torch_dtype": "bfloat16", "estimated_params": n_weights + 1000, "attention_bias": False, "mlp_bias": False,
        "attention_dropout": 0.0, "rope_theta": 10000.0, "attention_backend": "sdpa", "fp8_pad_multiple": 16,
        "mor_max_depth": 3, "mor_router_hidden_dim": 384, "mor_router_aux_loss_coef": 0.0,
        "mor_target_avg_depth": 1.0,
    }


def write_tokenizer(folder):
    """tokenizer.json and its side files. `add_bos_token` and `add_eos_token` are as published; prompts have no eos."""
    vocabularies.metis().save(str(folder / "tokenizer.json"), pretty=False)
    special = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"}
    write_json(folder / "special_tokens_map.json", special)
    write_json(folder / "tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": True, **special, "clean_up_tokenization_spaces": False,
        "model_max_length": 256, "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHAT_TEMPLATE,
    })
    write_json(folder / "generation_config.json", {
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "do_sample": True, "temperature": 0.7, "top_p": 0.95,
        "max_new_tokens": 256,
    })
