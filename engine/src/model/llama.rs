//! Llama (Touvron et al. 2023) and what is built like it: pre-norm blocks of grouped-query attention with
//! rotary positions and a SwiGLU MLP.

use super::{Arch, Gguf, bad, blocks, rope_scaling::RopeScaling};
use crate::{
    Result,
    op::{Act, Function, Heads, Pairing, Rotary},
    program::{Builder, Program},
    weights::{Scope, metadata::Metadata},
};
use serde::Deserialize;
use serde_json::{Value, json};

/// The registry's entry.
pub const ARCH: Arch = Arch {
    model_types: &["llama"],
    build,
    ignores: |name| name.ends_with("rotary_emb.inv_freq"),
    gguf: Some(Gguf {
        architecture: "llama",
        config: gguf_config,
        rename: gguf_name,
    }),
    ..Arch::NONE
};

/// config.json, with its own key names.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    #[serde(flatten)]
    pub expected: Expected,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    head_dim: Option<usize>,
    rms_norm_eps: f32,
    #[serde(default = "silu")]
    hidden_act: String,
    rope_theta: Option<f32>,
    #[serde(alias = "rope_parameters")]
    rope_scaling: Option<RopeScaling>,
    /// Ours: GGUF keeps the original Llama's pairs, which Hugging Face's conversion reorders.
    #[serde(default)]
    rope_interleaved: bool,
    /// Ours: GGUF stores long-context scaling as one divisor per frequency, `[head_dim / 2]`.
    rope_factors: Option<Vec<f32>>,
}

/// Sizes that shapes tell, for a message about a weight that is missing.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct Expected {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_key_value_heads: Option<usize>,
}

fn silu() -> String {
    "silu".into()
}

fn build(config: &Value, weights: &Scope<'_>) -> Result<Program> {
    let config = Config::read(config)?;
    decoder(&config, weights, &mut |b, layer, x| {
        let hidden = config.expected.intermediate_size;
        blocks::gated_mlp(b, &layer.at("mlp"), x, hidden, Function::Silu)
    })
}

/// An MLP, or what a family has in its place: `x[n, d] → [n, d]` by the weights of a layer.
pub(super) type Mlp<'m> = dyn FnMut(&mut Builder, &Scope<'_>, Act) -> Result<Act> + 'm;

/// Embedding, layers of attention and `mlp`, final norm and head, with Hugging Face's names.
///
/// # Errors
/// When a weight is missing or the config asks for what cannot be.
pub(super) fn decoder(config: &Config, weights: &Scope<'_>, mlp: &mut Mlp<'_>) -> Result<Program> {
    let model = weights.at("model");
    let Expected {
        vocab_size,
        hidden_size,
        ..
    } = config.expected;
    let [vocab, d] = model.sizes("embed_tokens.weight", [vocab_size, hidden_size])?;
    let heads = config.heads(d)?;
    let rotary = config.rotary(heads.head_dim)?;
    let eps = config.rms_norm_eps;
    let mut b = Builder::new();

    let embedding = model.matrix("embed_tokens.weight", vocab, d)?;
    let mut x = b.embed(embedding);
    for i in 0..config.num_hidden_layers {
        let layer = model.at("layers").at(i);
        let h = blocks::rms_norm(&mut b, &layer, "input_layernorm", x, eps)?;
        let h = blocks::self_attention(&mut b, &layer.at("self_attn"), h, heads, &rotary)?;
        x = b.add(x, h);
        let h = blocks::rms_norm(&mut b, &layer, "post_attention_layernorm", x, eps)?;
        let h = mlp(&mut b, &layer, h)?;
        x = b.add(x, h);
    }
    let x = b.last(x);
    let x = blocks::rms_norm(&mut b, &model, "norm", x, eps)?;
    let head = weights.at("lm_head");
    // A file without a head ties it to the embedding.
    let head = if head.has("weight") {
        head.matrix("weight", vocab, d)?
    } else {
        embedding
    };
    let logits = b.linear(x, head, None);
    Ok(b.finish(logits))
}

impl Config {
    /// # Errors
    /// [`Error::BadConfig`](crate::Error::BadConfig) with the key that is missing or of another kind.
    pub(super) fn read(config: &Value) -> Result<Self> {
        Self::deserialize(config).map_err(|e| bad(e.to_string()))
    }

    /// Heads of rows of `d`; how many of keys and values, a layer's shapes may correct.
    fn heads(&self, d: usize) -> Result<Heads> {
        let n_heads = self.num_attention_heads;
        if n_heads == 0 || self.num_hidden_layers == 0 {
            return Err(bad("no layers, or no attention heads".into()));
        }
        if self.hidden_act != "silu" {
            return Err(bad(format!(
                "hidden_act '{}', where Llama has 'silu'",
                self.hidden_act
            )));
        }
        let n_kv_heads = self.expected.num_key_value_heads.unwrap_or(n_heads);
        let head_dim = self.head_dim.unwrap_or(d / n_heads);
        blocks::heads(n_heads, n_kv_heads, head_dim)
    }

    fn rotary(&self, head_dim: usize) -> Result<Rotary> {
        let scaling = self.rope_scaling.clone().unwrap_or_default();
        let theta = scaling.rope_theta.or(self.rope_theta).unwrap_or(10_000.0);
        let pairs = head_dim / 2;
        let mut frequencies = blocks::frequencies(head_dim, theta);
        scaling.apply(&mut frequencies)?;
        if let Some(factors) = &self.rope_factors {
            if factors.len() != pairs {
                return Err(bad(format!(
                    "rope_freqs holds {} factors for {pairs} frequencies",
                    factors.len()
                )));
            }
            frequencies
                .iter_mut()
                .zip(factors)
                .for_each(|(f, factor)| *f /= factor);
        }
        let pairing = if self.rope_interleaved {
            Pairing::Interleaved
        } else {
            Pairing::Half
        };
        Ok(Rotary {
            head_dim,
            pairing,
            frequencies,
        })
    }
}

/// GGUF metadata as config.json would have it.
fn gguf_config(m: &Metadata) -> Result<Value> {
    let n_heads = m.usize("llama.attention.head_count")?;
    let vocab_size = match m.get("llama.vocab_size") {
        Some(_) => m.usize("llama.vocab_size")?,
        None => m.strings("tokenizer.ggml.tokens")?.len(),
    };
    let optional = |key: &str| m.get(key).map(|_| m.usize(key)).transpose();
    let mut config = json!({
        "model_type": "llama",
        "hidden_size": m.usize("llama.embedding_length")?,
        "intermediate_size": m.usize("llama.feed_forward_length")?,
        "num_hidden_layers": m.usize("llama.block_count")?,
        "num_attention_heads": n_heads,
        "num_key_value_heads": optional("llama.attention.head_count_kv")?.unwrap_or(n_heads),
        "head_dim": optional("llama.attention.key_length")?,
        "vocab_size": vocab_size,
        "max_position_embeddings": m.usize("llama.context_length")?,
        "rms_norm_eps": m.f32("llama.attention.layer_norm_rms_epsilon")?,
        "rope_interleaved": true,
    });
    if m.get("llama.rope.freq_base").is_some() {
        config["rope_theta"] = json!(m.f32("llama.rope.freq_base")?);
    }
    if m.get("llama.rope.scaling.type").is_some() {
        let rope_type = m.str("llama.rope.scaling.type")?;
        let rope_type = if rope_type == "none" {
            "default"
        } else {
            rope_type
        };
        let factor = m
            .get("llama.rope.scaling.factor")
            .map(|_| m.f32("llama.rope.scaling.factor"))
            .transpose()?;
        config["rope_scaling"] = json!({ "rope_type": rope_type, "factor": factor });
    }
    Ok(config)
}

/// `blk.3.attn_q.weight` → `model.layers.3.self_attn.q_proj.weight`.
fn gguf_name(name: &str) -> Option<String> {
    let outer = match name {
        "token_embd.weight" => Some("model.embed_tokens.weight"),
        "output_norm.weight" => Some("model.norm.weight"),
        "output.weight" => Some("lm_head.weight"),
        _ => None,
    };
    if let Some(outer) = outer {
        return Some(outer.into());
    }
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let (part, kind) = rest.split_once('.')?;
    let part = match part {
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "ffn_norm" => "post_attention_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };
    Some(format!("model.layers.{layer}.{part}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gguf_names_become_hugging_face_names() {
        let name = |gguf| gguf_name(gguf).unwrap();
        assert_eq!(
            name("blk.12.attn_output.weight"),
            "model.layers.12.self_attn.o_proj.weight"
        );
        assert_eq!(
            name("blk.0.attn_q.bias"),
            "model.layers.0.self_attn.q_proj.bias"
        );
        assert_eq!(name("output_norm.weight"), "model.norm.weight");
        assert_eq!(gguf_name("blk.0.ssm_in.weight"), None);
    }
}
