"""A second opinion on every reference: models of transformers that compute the same from the same files, in f32.

None of them knows the family. Each is another architecture, put together so that it comes to the same function.
MoA-Metric-LM alone is like none of them: its twin is a second implementation, token by token (moa_twin.py).
"""

import json

import torch
from transformers import (
    GraniteMoeSharedConfig, GraniteMoeSharedForCausalLM, LlamaConfig, LlamaForCausalLM, MixtralConfig,
    MixtralForCausalLM, NemotronHConfig,
)
from transformers.models.nemotron_h.modeling_nemotron_h import NemotronHMoE

from references import metis, mixtral, moa, moa_twin, mtlm1, ssmoelm
from references.common import below, read_json, read_tensors

EAGER = {"attn_implementation": "eager"}


def mixtral_twin(folder):
    """Mixtral itself. For neo-3, a Mixtral where

    a dense part is E equal experts, since routing weights sum to 1; and a plain expert is a gated one with fc1 as
    gate and as up matrix and sigmoid as its activation, since silu(a) = sigmoid(a)·a.
    """
    if mixtral.is_stock(folder.name):
        return MixtralForCausalLM.from_pretrained(folder, dtype=torch.float32, **EAGER)
    w = floats(read_tensors(folder))
    config = MixtralConfig.from_pretrained(folder, **EAGER)
    model = MixtralForCausalLM(config)
    state = {name: tensor for name, tensor in w.items() if ".mlp." not in name}
    state["lm_head.weight"] = w["model.embed_tokens.weight"]
    for i, block in enumerate(model.model.layers):
        router, experts = mixtral.experts_of(below(w, f"model.layers.{i}."))
        if router is None:
            n_experts = config.num_local_experts
            router, experts = torch.zeros(n_experts, config.hidden_size), experts * n_experts
        if len(experts[0]) == 2:
            experts = [(fc1, fc1, fc2) for fc1, fc2 in experts]
            block.mlp.experts.act_fn = torch.nn.Sigmoid()
        state[f"model.layers.{i}.mlp.gate.weight"] = router
        state |= stacked(f"model.layers.{i}.mlp.experts.", experts)
    return loaded(model, state)


def metis_twin(folder):
    """Llama, with Nemotron-H's latent mixture of experts as its feed-forward part, and all matrices transposed."""
    config, w = read_json(folder / "config.json"), floats(read_tensors(folder))
    n_experts, latent, hidden = w["layers.0.expert_w1"].shape
    shared = {
        "hidden_size": config["d_model"], "num_hidden_layers": config["n_layer"], "head_dim": config["head_dim"],
        "num_attention_heads": config["n_heads"], "num_key_value_heads": config["n_kv_heads"],
        "vocab_size": config["vocab_size"], "tie_word_embeddings": True,
    }
    model = LlamaForCausalLM(LlamaConfig(
        rms_norm_eps=1e-6, rope_parameters={"rope_type": "default", "rope_theta": config["rope_theta"]},
        intermediate_size=8, **shared, **EAGER,
    ))
    moe = NemotronHConfig(
        layer_types=["moe"] * config["n_layer"], n_routed_experts=n_experts, num_experts_per_tok=4,
        moe_latent_size=latent, moe_intermediate_size=hidden,
        moe_shared_expert_intermediate_size=w["layers.0.shared_w1"].shape[1], **shared,
    )
    moe._experts_implementation = "eager"
    state = {"model.embed_tokens.weight": w["embed"], "lm_head.weight": w["embed"]}
    state["model.norm.weight"] = w["final_norm.scale"]
    names = {
        "attn_norm.scale": "input_layernorm.weight", "moe_norm.scale": "post_attention_layernorm.weight",
        "latent_down": "mlp.fc1_latent_proj.weight", "latent_up": "mlp.fc2_latent_proj.weight",
        "router": "mlp.gate.weight", "router_bias": "mlp.gate.e_score_correction_bias",
        "expert_w1": "mlp.experts.up_proj", "expert_w2": "mlp.experts.down_proj",
        "shared_w1": "mlp.shared_experts.up_proj.weight", "shared_w2": "mlp.shared_experts.down_proj.weight",
    } | {m: f"self_attn.{m}_proj.weight" for m in "qkvo"}
    for i, block in enumerate(model.model.layers):
        block.mlp = NemotronHMoE(moe)
        for name, tensor in below(w, f"layers.{i}.").items():
            state[f"model.layers.{i}.{names[name]}"] = tensor if tensor.dim() == 1 else tensor.transpose(-1, -2)
    return loaded(model, state)


def ssmoelm_twin(folder):
    """Granite's mixture with a shared expert, a layer for each pass, all of its multipliers off."""
    metadata, w = ssmoelm.read_packed(folder)
    w, names = floats(w), next(names for names in ssmoelm.NAMES.values() if names["embedding"] in w)
    stored = [i for i in range(len(w)) if names["router"].format(layer=i) in w]
    passes = json.loads(metadata["pass_order"]) if "pass_order" in metadata else stored
    embedding = w[names["embedding"]]
    model = GraniteMoeSharedForCausalLM(GraniteMoeSharedConfig(
        vocab_size=len(embedding), hidden_size=128, intermediate_size=64, shared_intermediate_size=64,
        num_hidden_layers=len(passes), num_attention_heads=2, num_key_value_heads=1, attention_multiplier=1 / 8,
        num_local_experts=4, num_experts_per_tok=2, rms_norm_eps=1e-5, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, **EAGER,
    ))
    state = {"model.embed_tokens.weight": embedding, "lm_head.weight": embedding}
    state["model.norm.weight"] = w.get(names["final_norm"], torch.ones(128))
    for depth, i in enumerate(passes):
        at = f"model.layers.{depth}."

        def matrices(kind, **numbers):
            return [w[names[kind].format(layer=i, part=names[part], **numbers)] for part in ("gate", "up", "down")]

        for name, to in (("attention_norm", "input_layernorm"), ("mlp_norm", "post_attention_layernorm")):
            state[f"{at}{to}.weight"] = w[names[name].format(layer=i)]
        for m in "qkvo":
            state[f"{at}self_attn.{m}_proj.weight"] = w[names[m].format(layer=i)]
        state[f"{at}block_sparse_moe.router.weight"] = w[names["router"].format(layer=i)]
        state |= stacked(f"{at}block_sparse_moe.experts.", [matrices("expert", expert=e) for e in range(4)])
        gate, up, down = matrices("shared")
        state[f"{at}shared_mlp.input_linear.weight"] = torch.cat([gate, up])
        state[f"{at}shared_mlp.output_linear.weight"] = down
    return loaded(model, state)


def mtlm1_twin(folder):
    """Llama with the rows of q and k sorted: in each head the first of every pair, then the second of every pair."""
    heads, n_layers, w = mtlm1.read(folder)
    w = floats(w)
    embedding = w["tok_emb.weight"]
    vocab_size, d = embedding.shape
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=vocab_size, hidden_size=d, num_hidden_layers=n_layers, num_attention_heads=heads, rms_norm_eps=1e-6,
        intermediate_size=len(w["layers.0.mlp.w1.weight"]), tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, **EAGER,
    ))
    state = {"model.embed_tokens.weight": embedding, "lm_head.weight": w.get("lm_head.weight", embedding)}
    state["model.norm.weight"] = w["norm_f.weight"]
    names = {
        "norm1": "input_layernorm", "norm2": "post_attention_layernorm", "attn.o_proj": "self_attn.o_proj",
        "mlp.w1": "mlp.gate_proj", "mlp.w2": "mlp.up_proj", "mlp.w3": "mlp.down_proj",
    }
    for i in range(n_layers):
        layer, at = below(w, f"layers.{i}."), f"model.layers.{i}."
        for m, part in zip("qkv", layer["attn.qkv.weight"].chunk(3)):
            rows = part.unflatten(0, (heads, -1))
            sorted_rows = rows if m == "v" else torch.cat([rows[:, 0::2], rows[:, 1::2]], dim=1)
            state[f"{at}self_attn.{m}_proj.weight"] = sorted_rows.flatten(0, 1)
        state |= {f"{at}{to}.weight": layer[f"{name}.weight"] for name, to in names.items()}
    return loaded(model, state)


def stacked(prefix, experts):
    """[(gate, up, down)] as transformers 5 stacks them."""
    return {
        f"{prefix}gate_up_proj": torch.stack([torch.cat([gate, up]) for gate, up, _ in experts]),
        f"{prefix}down_proj": torch.stack([down for _, _, down in experts]),
    }


def floats(tensors):
    return {name: tensor.float() for name, tensor in tensors.items()}


def loaded(model, state):
    model.load_state_dict(state, strict=True)
    return model.float()


TWINS = {mixtral: mixtral_twin, metis: metis_twin, ssmoelm: ssmoelm_twin, mtlm1: mtlm1_twin, moa: moa_twin.twin}
