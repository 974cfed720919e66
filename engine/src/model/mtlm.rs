//! MTLM1 (github.com/MadrasLe/MTLM1): a plain pre-norm decoder with names of its own: queries, keys and values
//! in one matrix, neighbouring elements paired by the rotary positions, `w1` gate, `w2` up and `w3` down.

use super::{Arch, bad, binary, blocks};
use crate::{
    Result,
    op::{Act, Function, Heads, Pairing, Rotary},
    program::{Builder, Program},
    weights::Scope,
};
use serde::Deserialize;
use serde_json::Value;

/// The registry's entry.
pub const ARCH: Arch = Arch {
    model_types: &["mtlm", "mtlm1"],
    build,
    recognises: |weights| {
        let weights = root(weights);
        weights.has("tok_emb.weight") && weights.has("layers.0.mlp.w3.weight")
    },
    // Heads of 64 unless config.json says otherwise: the shapes of q, k and v are the same for any number.
    switches: |_| const { &[binary("rope_interleaved", true)] },
    ..Arch::NONE
};

/// What shapes do not tell. The port's key names are not known, so each goes by all of its usual ones.
#[derive(Debug, Deserialize)]
struct Config {
    #[serde(alias = "num_heads", alias = "num_attention_heads", alias = "n_head")]
    n_heads: Option<usize>,
    #[serde(default = "ten_thousand")]
    rope_theta: f32,
    /// Ours: the authors' code pairs neighbours.
    #[serde(default = "yes")]
    rope_interleaved: bool,
}

fn ten_thousand() -> f32 {
    10_000.0
}

fn yes() -> bool {
    true
}

/// Width of a head where config.json does not say how many there are.
const HEAD_DIM: usize = 64;
const EPS: f32 = 1e-6;

/// Ports put the names below one of these.
fn root<'w>(weights: &Scope<'w>) -> Scope<'w> {
    let prefixed = ["model", "transformer"].map(|prefix| weights.at(prefix));
    let found = prefixed
        .into_iter()
        .find(|scope| scope.has("tok_emb.weight"));
    found.unwrap_or_else(|| weights.clone())
}

fn build(config: &Value, weights: &Scope<'_>) -> Result<Program> {
    let config = Config::deserialize(config).map_err(|e| bad(e.to_string()))?;
    let model = root(weights);
    let [vocab, d] = model.sizes("tok_emb.weight", [0, 0])?;
    let n_heads = config.n_heads.unwrap_or(d / HEAD_DIM);
    if n_heads == 0 || !d.is_multiple_of(n_heads) {
        return Err(bad(format!("{n_heads} attention heads do not divide {d}")));
    }
    let heads = blocks::heads(n_heads, n_heads, d / n_heads)?;
    let rotary = Rotary {
        head_dim: heads.head_dim,
        pairing: if config.rope_interleaved {
            Pairing::Interleaved
        } else {
            Pairing::Half
        },
        frequencies: blocks::frequencies(heads.head_dim, config.rope_theta),
    };
    let mut b = Builder::new();
    let embedding = model.matrix("tok_emb.weight", vocab, d)?;
    let mut x = b.embed(embedding);
    for i in 0.. {
        let layer = model.at("layers").at(i);
        if i > 0 && !layer.has("norm1.weight") {
            break;
        }
        let h = blocks::rms_norm(&mut b, &layer, "norm1", x, EPS)?;
        let h = attention(&mut b, &layer.at("attn"), h, heads, &rotary)?;
        x = b.add(x, h);
        let h = blocks::rms_norm(&mut b, &layer, "norm2", x, EPS)?;
        let h = mlp(&mut b, &layer.at("mlp"), h)?;
        x = b.add(x, h);
    }
    let x = b.last(x);
    let x = blocks::rms_norm(&mut b, &model, "norm_f", x, EPS)?;
    let head = [weights, &model]
        .into_iter()
        .find(|scope| scope.has("lm_head.weight"));
    let head = match head {
        Some(scope) => scope.matrix("lm_head.weight", vocab, d)?,
        None => embedding,
    };
    let logits = b.linear(x, head, None);
    Ok(b.finish(logits))
}

/// `x[n, d] → [n, d]` by `qkv[3 · d, d]`, or `q_proj`, `k_proj` and `v_proj`, and `o_proj`.
fn attention(
    b: &mut Builder,
    scope: &Scope<'_>,
    x: Act,
    heads: Heads,
    rotary: &Rotary,
) -> Result<Act> {
    if !scope.has("qkv.weight") {
        return blocks::self_attention(b, scope, x, heads, rotary);
    }
    let d = x.width;
    let all = scope.tensor("qkv.weight", &[3 * d, d])?;
    let mut third = |i: usize| -> Result<Act> {
        let w = scope.join([all.rows(i * d..(i + 1) * d)])?;
        Ok(b.linear(x, w, None))
    };
    let qkv = [third(0)?, third(1)?, third(2)?];
    let y = blocks::attend(b, qkv, heads, rotary);
    blocks::linear(b, scope, "o_proj", y, d)
}

/// `x[n, d] → [n, d]`: `w3(silu(w1 x) · w2 x)`.
fn mlp(b: &mut Builder, scope: &Scope<'_>, x: Act) -> Result<Act> {
    let [hidden, _] = scope.sizes("w1.weight", [0, x.width])?;
    let gate = blocks::linear(b, scope, "w1", x, hidden)?;
    let up = blocks::linear(b, scope, "w2", x, hidden)?;
    let h = b.activate(gate, Some(up), Function::Silu);
    blocks::linear(b, scope, "w3", h, x.width)
}
