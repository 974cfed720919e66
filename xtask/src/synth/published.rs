//! The published models by their tensors: names, number formats and shapes, and the settings beside them.

use super::{Fill, Model, Tensor};
use serde_json::{Value, json};

/// SSMoELM-Base and -it: the published file has 12.1 MB and 11.9 M elements.
pub(super) fn ssmoelm() -> Model {
    let mut tensors = Vec::new();
    let mut packed = |key: String, bits: usize, rows: usize, cols: usize| {
        let suffix = if bits == 1 { "bin" } else { "int4" };
        // The largest value of a row is its scale times 1 or 7.
        let scale = (1.0 / cols as f32).sqrt() / if bits == 1 { 1.0 } else { 4.0 };
        tensors.push(Tensor::new(
            format!("{key}__{suffix}"),
            "U8",
            &[rows, cols * bits / 8],
            Fill::Bytes,
        ));
        tensors.push(Tensor::new(
            format!("{key}__scale"),
            "F16",
            &[rows],
            Fill::About(scale),
        ));
        tensors.push(Tensor::new(
            format!("{key}__shape"),
            "I32",
            &[2],
            Fill::Whole(rows as i32),
        ));
        tensors.push(Tensor::new(
            format!("{key}__cols"),
            "I32",
            &[1],
            Fill::Whole(cols as i32),
        ));
    };
    let (d, kv, hidden, n_layers, n_experts) = (768, 192, 256, 6, 8);
    packed("embed.weight".into(), 4, 8192, d);
    for layer in 0..n_layers {
        let at = |name: &str| format!("layers.{layer}.{name}.weight");
        let outer = if layer == 0 || layer == n_layers - 1 {
            4
        } else {
            1
        };
        packed(at("attn.q_proj"), 4, d, d);
        packed(at("attn.k_proj"), 4, kv, d);
        packed(at("attn.v_proj"), outer, kv, d);
        packed(at("attn.o_proj"), outer, d, d);
        let experts = (0..n_experts).map(|e| (format!("moe.experts.{e}"), 1));
        for (expert, bits) in experts.chain([("moe.shared".to_string(), 4)]) {
            packed(at(&format!("{expert}.gate_proj")), bits, hidden, d);
            packed(at(&format!("{expert}.up_proj")), bits, hidden, d);
            packed(at(&format!("{expert}.down_proj")), bits, d, hidden);
        }
    }
    for layer in 0..n_layers {
        let at = |name: &str| format!("layers.{layer}.{name}.weight");
        tensors.push(Tensor::matrix(at("moe.router"), "F16", &[n_experts, d], d));
        tensors.push(Tensor::new(at("attn_norm"), "F16", &[d], Fill::About(1.0)));
        tensors.push(Tensor::new(at("mlp_norm"), "F16", &[d], Fill::About(1.0)));
    }
    tensors.push(Tensor::new("norm.weight", "F16", &[d], Fill::About(1.0)));
    Model {
        tensors,
        config: Value::Null,
        sidecar: json!({
            "bits_msb_first": true, "bits_one_is_plus": true, "nibbles_low_first": true, "nibbles_offset": 8,
            "embedding_offset": null, "rope_interleaved": false, "rope_theta": 10000.0, "norm_topk_prob": true,
            "scoring_func": "softmax", "gate_first": true
        }),
        vocab: 8192,
        special: &[
            "<bos>",
            "<eos>",
            "<pad>",
            "<|system|>",
            "<|user|>",
            "<|assistant|>",
            "<|eot|>",
        ],
    }
}

/// Metis-1.5: 268 tensors, 898,051,168 parameters, bf16, matrices [in, out].
pub(super) fn metis() -> Model {
    let (vocab, d, kv, latent, hidden, n_experts, n_layers) =
        (32_768, 1536, 512, 512, 1024, 32, 19);
    let mut tensors = vec![
        Tensor::matrix("embed", "BF16", &[vocab, d], d),
        Tensor::new("final_norm.scale", "BF16", &[d], Fill::About(1.0)),
    ];
    for layer in 0..n_layers {
        let at = |name: &str| format!("layers.{layer}.{name}");
        let mut matrix = |name: &str, shape: &[usize]| {
            let inputs = shape[shape.len() - 2];
            tensors.push(Tensor::matrix(at(name), "BF16", shape, inputs));
        };
        matrix("q", &[d, d]);
        matrix("k", &[d, kv]);
        matrix("v", &[d, kv]);
        matrix("o", &[d, d]);
        matrix("latent_down", &[d, latent]);
        matrix("latent_up", &[latent, d]);
        matrix("router", &[d, n_experts]);
        matrix("expert_w1", &[n_experts, latent, hidden]);
        matrix("expert_w2", &[n_experts, hidden, latent]);
        matrix("shared_w1", &[d, hidden]);
        matrix("shared_w2", &[hidden, d]);
        tensors.push(Tensor::new(
            at("router_bias"),
            "BF16",
            &[n_experts],
            Fill::Within(0.1),
        ));
        tensors.push(Tensor::new(
            at("attn_norm.scale"),
            "BF16",
            &[d],
            Fill::About(1.0),
        ));
        tensors.push(Tensor::new(
            at("moe_norm.scale"),
            "BF16",
            &[d],
            Fill::About(1.0),
        ));
    }
    Model {
        tensors,
        config: json!({
            "model_type": "metis_multihead_latent_moe", "name": "Metis-1.5", "vocab_size": vocab, "block_size": 1024,
            "d_model": d, "n_layer": n_layers, "n_heads": 24, "n_kv_heads": 8, "head_dim": 64, "rope_theta": 10000.0,
            "bos_token_id": 1, "eos_token_id": 2
        }),
        sidecar: json!({}),
        vocab,
        special: &["<pad>", "<bos>", "<eos>", "<unk>"],
    }
}

/// neo-3-1B: 30 layers, every fifth of the first 25 dense, the others of 16 gated experts.
pub(super) fn neo3() -> Model {
    let (vocab, d, kv, hidden, n_experts, n_layers) = (49_152, 576, 192, 1536, 16, 30);
    let mut tensors = vec![
        Tensor::matrix("model.embed_tokens.weight", "BF16", &[vocab, d], d),
        Tensor::new("model.norm.weight", "BF16", &[d], Fill::About(1.0)),
    ];
    for layer in 0..n_layers {
        let at = |name: &str| format!("model.layers.{layer}.{name}.weight");
        let mut matrix = |name: &str, rows: usize, cols: usize| {
            tensors.push(Tensor::matrix(at(name), "BF16", &[rows, cols], cols));
        };
        matrix("self_attn.q_proj", d, d);
        matrix("self_attn.k_proj", kv, d);
        matrix("self_attn.v_proj", kv, d);
        matrix("self_attn.o_proj", d, d);
        if layer % 5 == 0 && layer < 25 {
            matrix("mlp.gate_proj", hidden, d);
            matrix("mlp.up_proj", hidden, d);
            matrix("mlp.down_proj", d, hidden);
        } else {
            matrix("mlp.router", n_experts, d);
            for expert in 0..n_experts {
                matrix(&format!("mlp.experts.{expert}.fc1"), 2 * hidden, d);
                matrix(&format!("mlp.experts.{expert}.fc2"), d, hidden);
            }
        }
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            tensors.push(Tensor::new(at(norm), "BF16", &[d], Fill::About(1.0)));
        }
    }
    Model {
        tensors,
        config: json!({
            "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": d, "intermediate_size": hidden,
            "num_hidden_layers": n_layers, "num_attention_heads": 9, "num_key_value_heads": 3, "num_local_experts": n_experts,
            "num_experts_per_tok": 2, "vocab_size": vocab, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
            "rope_theta": 100000.0, "hidden_act": "silu", "tie_word_embeddings": true, "bos_token_id": 0, "eos_token_id": 0
        }),
        sidecar: json!({"fc_gate_last": false}),
        vocab,
        special: &["<|endoftext|>"],
    }
}

/// MTLM1-200M by the likeliest of the sizes that fit its count: 28 layers of 768, the head stored as well.
pub(super) fn mtlm1() -> Model {
    let (vocab, d, hidden, n_layers) = (32_000, 768, 1280, 28);
    let mut tensors = Vec::new();
    let matrix =
        |name: String, rows: usize, cols: usize| Tensor::matrix(name, "F32", &[rows, cols], cols);
    tensors.push(matrix("tok_emb.weight".into(), vocab, d));
    for layer in 0..n_layers {
        let at = |name: &str| format!("layers.{layer}.{name}.weight");
        tensors.push(Tensor::new(at("norm1"), "F32", &[d], Fill::About(1.0)));
        tensors.push(matrix(at("attn.qkv"), 3 * d, d));
        tensors.push(matrix(at("attn.o_proj"), d, d));
        tensors.push(Tensor::new(at("norm2"), "F32", &[d], Fill::About(1.0)));
        tensors.push(matrix(at("mlp.w1"), hidden, d));
        tensors.push(matrix(at("mlp.w2"), hidden, d));
        tensors.push(matrix(at("mlp.w3"), d, hidden));
    }
    tensors.push(Tensor::new("norm_f.weight", "F32", &[d], Fill::About(1.0)));
    tensors.push(matrix("lm_head.weight".into(), vocab, d));
    Model {
        tensors,
        config: json!({"vocab_size": vocab, "d_model": d, "n_heads": 12, "n_layers": n_layers, "max_seq_len": 1024}),
        sidecar: json!({"rope_interleaved": true}),
        vocab,
        special: &["<unk>", "<s>", "</s>"],
    }
}
