"""Mixtral and neo-3: the file layouts, tiny random checkpoints, and the forward pass from its formulas.

All layouts have Llama's names outside of the feed-forward part, matrices [out, in], q/k/v/o without biases:

    model.embed_tokens.weight, model.norm.weight, lm_head.weight (absent where the embedding is tied)
    model.layers.i.{input_layernorm, post_attention_layernorm}.weight
    model.layers.i.self_attn.{q,k,v,o}_proj.weight

The feed-forward part of a layer, below model.layers.i. (E experts, d wide, h hidden):

    v4     block_sparse_moe.gate.weight [E, d]                     as transformers 4 writes Mixtral
           block_sparse_moe.experts.e.{w1,w3}.weight [h, d]        w1 the gate, w3 the up matrix
           block_sparse_moe.experts.e.w2.weight [d, h]             the down matrix
    v5     mlp.gate.weight [E, d]                                  as transformers 5 writes it
           mlp.experts.gate_up_proj [E, 2h, d]                     gate rows first
           mlp.experts.down_proj [E, d, h]
    neo    mlp.router.weight [E, d]                                neo-3-1B
           mlp.experts.e.fc1.weight [2h, d]                        gated, gate rows first; or
           mlp.experts.e.fc1.weight [h, d]                         plain
           mlp.experts.e.fc2.weight [d, h]
    dense  mlp.{gate,up}_proj.weight [h, d], mlp.down_proj.weight [d, h]    some layers of neo-3-1B

Nothing in config.json tells neo from v4 or a dense layer from a mixture: the keys of each layer do.
"""

import copy
import shutil

import numpy as np
import torch
from torch.nn.functional import silu
from transformers import MixtralConfig

from references.common import (
    attention, below, draw, mixture, read_json, read_tensors, rms_norm, rope, top_k, write_tensors,
)
from tiny_models import VOCAB_SIZE, trained_tokenizer, write_json, write_tokenizer

CHECKPOINTS = {
    "tiny-mixtral-v4": {
        "seed": 1, "dtype": torch.bfloat16, "layers": ["v4", "v4"],
        "config": {
            "hidden_size": 32, "intermediate_size": 40, "num_attention_heads": 4, "num_key_value_heads": 2,
            "num_local_experts": 4, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0,
            "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16",
        },
    },
    "tiny-mixtral-v5": {
        "seed": 6, "dtype": torch.float32, "layers": ["v5", "v5"], "shards": 2,
        "config": {
            "hidden_size": 24, "intermediate_size": 16, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 8, "num_local_experts": 5, "num_experts_per_tok": 3, "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 20000.0}, "tie_word_embeddings": True,
            "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "dtype": "float32",
        },
    },
    "tiny-neo3": {
        "seed": 3, "dtype": torch.float16, "layers": ["dense", "neo", "neo"], "gated": True,
        "config": {
            "hidden_size": 48, "intermediate_size": 24, "num_attention_heads": 6, "num_key_value_heads": 2,
            "head_dim": None, "num_local_experts": 4, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5,
            "rope_theta": 100000.0, "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 0,
            "pad_token_id": 0, "dtype": "float16",
        },
    },
    "tiny-neo3-plain": {
        "seed": 4, "dtype": torch.float16, "layers": ["neo", "dense", "neo"], "gated": False,
        "config": {
            "hidden_size": 40, "intermediate_size": 32, "num_attention_heads": 5, "num_key_value_heads": 1,
            "head_dim": None, "num_local_experts": 6, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5,
            "rope_theta": 100000.0, "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 0,
            "pad_token_id": 0, "dtype": "float16",
        },
    },
}


def logits(folder, ids, choices):
    """Logits [n, vocab] after each of `ids`, from the files of `folder`; `choices` receives what routers decided."""
    config, w = read_json(folder / "config.json"), read_tensors(folder)
    eps, heads, kv_heads = (config[key] for key in ("rms_norm_eps", "num_attention_heads", "num_key_value_heads"))
    theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    x = w["model.embed_tokens.weight"][torch.tensor(ids).long()]
    n = len(ids)
    for i in range(config["num_hidden_layers"]):
        layer = below(w, f"model.layers.{i}.")
        a = rms_norm(x, layer["input_layernorm.weight"], eps)
        q = (a @ layer["self_attn.q_proj.weight"].T).view(n, heads, -1)
        k = (a @ layer["self_attn.k_proj.weight"].T).view(n, kv_heads, -1)
        v = (a @ layer["self_attn.v_proj.weight"].T).view(n, kv_heads, -1)
        x = x + attention(rope(q, theta), rope(k, theta), v) @ layer["self_attn.o_proj.weight"].T
        m = rms_norm(x, layer["post_attention_layernorm.weight"], eps)
        x = x + feed_forward(layer, m, config["num_experts_per_tok"], choices)
    x = rms_norm(x, w["model.norm.weight"], eps)
    return x @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T


def feed_forward(layer, m, k, choices):
    """down(silu(gate m) ⊙ (up m)) in a dense layer, else the weighted sum of the k best experts of each row of m.

    p = softmax(router m) over all experts; the k largest are chosen and their p divided by their sum.
    """
    router, experts = experts_of(layer)
    if router is None:
        return expert_output(experts[0], m)
    p = (m @ router.T).softmax(-1)
    ids = top_k(p, k, choices)
    chosen = p.gather(1, ids)
    return mixture(m, ids, chosen / chosen.sum(-1, keepdim=True), lambda e, row: expert_output(experts[e], row))


def expert_output(matrices, m):
    *first, down = matrices
    if len(first) == 1:  # plain: fc2(silu(fc1 m))
        return silu(m @ first[0].T) @ down.T
    gate, up = first
    return (silu(m @ gate.T) * (m @ up.T)) @ down.T


def experts_of(layer):
    """(router [E, d] or None, [(gate, up, down)] of the experts or of the one dense part; plain experts (fc1, fc2))."""
    if "mlp.gate_proj.weight" in layer:
        return None, [tuple(layer[f"mlp.{m}_proj.weight"] for m in ("gate", "up", "down"))]
    if "mlp.experts.gate_up_proj" in layer:
        gate_up, down = layer["mlp.experts.gate_up_proj"], layer["mlp.experts.down_proj"]
        return layer["mlp.gate.weight"], [(*a.chunk(2), b) for a, b in zip(gate_up, down)]
    if "block_sparse_moe.gate.weight" in layer:
        router, parts = layer["block_sparse_moe.gate.weight"], ("w1", "w3", "w2")
        names = [[f"block_sparse_moe.experts.{e}.{m}.weight" for m in parts] for e in range(len(router))]
        return router, [tuple(layer[name] for name in three) for three in names]
    router, experts = layer["mlp.router.weight"], []
    for e in range(len(router)):
        fc1, fc2 = (layer[f"mlp.experts.{e}.{m}.weight"] for m in ("fc1", "fc2"))
        experts.append((*fc1.chunk(2), fc2) if len(fc1) == 2 * fc2.shape[1] else (fc1, fc2))
    return router, experts


def is_stock(name):
    """Whether transformers reads the checkpoint's files as they are."""
    return "neo" not in name


def write_checkpoint(name, folder):
    """Writes the folder of the checkpoint `name`: config, tokenizer and weights."""
    spec = CHECKPOINTS[name]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(spec["seed"])
    tensors = {key: draw(rng, *of).to(spec["dtype"]) for key, of in shapes(spec).items()}
    write_shards(folder, tensors, spec.get("shards", 1))
    config = {
        "vocab_size": VOCAB_SIZE, "num_hidden_layers": len(spec["layers"]), "max_position_embeddings": 256,
    } | copy.deepcopy(spec["config"])
    if "v5" in spec["layers"]:
        saved = MixtralConfig(**config)
        saved.architectures = ["MixtralForCausalLM"]
        saved.save_pretrained(folder)
    else:
        write_json(folder / "config.json", published_config(config))
    write_tokenizer(folder) if is_stock(name) else write_neo_tokenizer(folder)


def shapes(spec):
    """{name: (kind, shape, fan-in)} in the order of the file."""
    config = spec["config"]
    d, h, n_experts = (config[key] for key in ("hidden_size", "intermediate_size", "num_local_experts"))
    head_dim = config.get("head_dim") or d // config["num_attention_heads"]
    q, kv = head_dim * config["num_attention_heads"], head_dim * config["num_key_value_heads"]
    out = {"model.embed_tokens.weight": ("embedding", (VOCAB_SIZE, d), d)}

    def matrix(name, *shape, kind="matrix"):
        out[name] = (kind, shape, shape[-1])

    for i, layout in enumerate(spec["layers"]):
        at = f"model.layers.{i}."
        out[at + "input_layernorm.weight"] = ("norm", (d,), None)
        for m, rows, cols in (("q", q, d), ("k", kv, d), ("v", kv, d), ("o", d, q)):
            matrix(f"{at}self_attn.{m}_proj.weight", rows, cols)
        out[at + "post_attention_layernorm.weight"] = ("norm", (d,), None)
        if layout == "dense":
            matrix(at + "mlp.gate_proj.weight", h, d)
            matrix(at + "mlp.up_proj.weight", h, d)
            matrix(at + "mlp.down_proj.weight", d, h)
            continue
        router = {"v4": "block_sparse_moe.gate.weight", "v5": "mlp.gate.weight", "neo": "mlp.router.weight"}[layout]
        matrix(at + router, n_experts, d, kind="router")
        if layout == "v5":
            matrix(at + "mlp.experts.gate_up_proj", n_experts, 2 * h, d)
            matrix(at + "mlp.experts.down_proj", n_experts, d, h)
        for e in range(n_experts):
            if layout == "v4":
                for m, rows, cols in (("w1", h, d), ("w2", d, h), ("w3", h, d)):
                    matrix(f"{at}block_sparse_moe.experts.{e}.{m}.weight", rows, cols)
            elif layout == "neo":
                matrix(f"{at}mlp.experts.{e}.fc1.weight", 2 * h if spec["gated"] else h, d)
                matrix(f"{at}mlp.experts.{e}.fc2.weight", d, h)
    out["model.norm.weight"] = ("norm", (d,), None)
    if not config["tie_word_embeddings"]:
        matrix("lm_head.weight", VOCAB_SIZE, d, kind="embedding")
    return out


def write_shards(folder, tensors, n_shards):
    """model.safetensors, or shards of about equally many tensors with their index."""
    if n_shards == 1:
        write_tensors(folder / "model.safetensors", tensors, {"format": "pt"})
        return
    names, weight_map = list(tensors), {}
    for s in range(n_shards):
        file = f"model-{s + 1:05}-of-{n_shards:05}.safetensors"
        part = names[s * len(names) // n_shards:(s + 1) * len(names) // n_shards]
        write_tensors(folder / file, {name: tensors[name] for name in part}, {"format": "pt"})
        weight_map |= {name: file for name in part}
    write_json(folder / "model.safetensors.index.json", {
        "metadata": {
            "total_parameters": sum(tensor.numel() for tensor in tensors.values()),
            "total_size": sum(tensor.nbytes for tensor in tensors.values()),
        },
        "weight_map": dict(sorted(weight_map.items())),
    })


def published_config(fields):
    """config.json as transformers 4 writes it: rope_theta at the top."""
    return dict(sorted(({
        "architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "hidden_act": "silu",
        "initializer_range": 0.02, "model_type": "mixtral", "output_router_logits": False,
        "router_aux_loss_coef": 0.02, "router_jitter_noise": 0.0, "sliding_window": None, "use_cache": True,
    } | fields).items()))


def write_neo_tokenizer(folder):
    """SmolLM's kind of tokenizer with one end token for everything and no chat template, as beside neo-3-1B."""
    trained_tokenizer().save(str(folder / "tokenizer.json"), pretty=False)
    end = "<|endoftext|>"
    special = {"bos_token": end, "eos_token": end, "pad_token": end, "unk_token": end}
    write_json(folder / "special_tokens_map.json", special)
    write_json(folder / "generation_config.json", {
        "_from_model_config": True, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
    })
    write_json(folder / "tokenizer_config.json", special | {
        "add_prefix_space": False, "clean_up_tokenization_spaces": False, "model_max_length": 256,
        "tokenizer_class": "GPT2Tokenizer",
    })
