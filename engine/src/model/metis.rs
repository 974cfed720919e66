//! Metis-1.5 (github.com/lernex/Metis): Llama's attention, and a mixture of experts in a narrow latent space
//! beside a shared expert. All matrices are stored [in, out], as JAX multiplies.

use super::{
    Arch, bad,
    blocks::{self, Experts},
};
use crate::{
    Result,
    op::{Act, Function, Pairing, Rotary, Router, Score, Weight},
    program::{Builder, Program},
    weights::Scope,
};
use serde::Deserialize;
use serde_json::Value;

/// The registry's entry.
pub const ARCH: Arch = Arch {
    model_types: &["metis_multihead_latent_moe"],
    build,
    ..Arch::NONE
};

/// The part of config.json that the model follows. `intermediate_size` and `hidden_act` are left over from an
/// older one, and nothing says how many experts a token has.
#[derive(Debug, Deserialize)]
struct Config {
    #[serde(flatten)]
    expected: Expected,
    n_layer: usize,
    head_dim: usize,
    rope_theta: f32,
    /// By the authors' manifest.
    #[serde(default = "four")]
    moe_top_k: usize,
}

/// Sizes that shapes tell, for a message about a weight that is missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Expected {
    vocab_size: usize,
    d_model: usize,
    n_heads: usize,
    n_kv_heads: usize,
}

fn four() -> usize {
    4
}

const EPS: f32 = 1e-6;

fn build(config: &Value, weights: &Scope<'_>) -> Result<Program> {
    let config = Config::deserialize(config).map_err(|e| bad(e.to_string()))?;
    let head_dim = config.head_dim;
    let rotary = Rotary {
        head_dim,
        pairing: Pairing::Half,
        frequencies: blocks::frequencies(head_dim, config.rope_theta),
    };
    let mut b = Builder::new();
    let expected = &config.expected;
    let [vocab, d] = weights.sizes("embed", [expected.vocab_size, expected.d_model])?;
    let embedding = weights.matrix("embed", vocab, d)?;
    let mut x = b.embed(embedding);
    for i in 0..config.n_layer {
        let layer = weights.at("layers").at(i);
        let h = norm(&mut b, &layer, "attn_norm", x)?;
        let width = |name, n_heads: usize| -> Result<usize> {
            let [_, width] = layer.sizes(name, [d, n_heads.saturating_mul(head_dim)])?;
            Ok(width)
        };
        let (q_width, kv_width) = (
            width("q", expected.n_heads)?,
            width("k", expected.n_kv_heads)?,
        );
        let q = project(&mut b, &layer, "q", h, q_width)?;
        let k = project(&mut b, &layer, "k", h, kv_width)?;
        let v = project(&mut b, &layer, "v", h, kv_width)?;
        let heads = blocks::heads_within(q_width, kv_width, head_dim)?;
        let h = blocks::attend(&mut b, [q, k, v], heads, &rotary);
        let h = project(&mut b, &layer, "o", h, d)?;
        x = b.add(x, h);
        let h = norm(&mut b, &layer, "moe_norm", x)?;
        let h = mixture(&mut b, &layer, h, config.moe_top_k)?;
        x = b.add(x, h);
    }
    let x = b.last(x);
    let x = norm(&mut b, weights, "final_norm", x)?;
    let logits = b.linear(x, embedding, None);
    Ok(b.finish(logits))
}

/// `x[n, d] → [n, d]`: the router sees `x`, the experts its latent, the shared expert `x` again.
fn mixture(b: &mut Builder, layer: &Scope<'_>, x: Act, top_k: usize) -> Result<Act> {
    let [_, latent] = layer.sizes("latent_down", [x.width, 0])?;
    let [n, _, hidden] = layer.sizes("expert_w1", [0, latent, 0])?;
    if !(1..=n).contains(&top_k) {
        return Err(bad(format!(
            "moe_top_k is {top_k}, and there are {n} experts"
        )));
    }
    let logits = project(b, layer, "router", x, n)?;
    let bias = layer.vector("router_bias", n)?;
    let router = Router {
        score: Score::Sigmoid,
        top_k,
        renormalise: true,
    };
    let experts = Experts {
        n,
        gate: None,
        up: stack(layer, "expert_w1", n, latent, hidden)?,
        down: stack(layer, "expert_w2", n, hidden, latent)?,
        function: Function::ReluSquared,
    };
    let z = project(b, layer, "latent_down", x, latent)?;
    let z = blocks::mixture(b, z, logits, Some(bias), router, &experts);
    let routed = project(b, layer, "latent_up", z, x.width)?;

    let [_, hidden] = layer.sizes("shared_w1", [x.width, 0])?;
    let h = project(b, layer, "shared_w1", x, hidden)?;
    let h = b.activate(h, None, Function::ReluSquared);
    let shared = project(b, layer, "shared_w2", h, x.width)?;
    Ok(b.add(routed, shared))
}

/// `x[n, in] → [n, out]` by a stored `[in, out]`.
fn project(b: &mut Builder, scope: &Scope<'_>, name: &str, x: Act, out: usize) -> Result<Act> {
    let w = scope.join([scope.tensor(name, &[x.width, out])?.transposed()])?;
    Ok(b.linear(x, w, None))
}

/// A stored `[n, in, out]` as `[n · out, in]`.
fn stack(scope: &Scope<'_>, name: &str, n: usize, cols: usize, rows: usize) -> Result<Weight> {
    let all = scope.tensor(name, &[n, cols, rows])?;
    scope.join((0..n).map(|i| all.rows(i * cols..(i + 1) * cols).transposed()))
}

fn norm(b: &mut Builder, scope: &Scope<'_>, name: &str, x: Act) -> Result<Act> {
    let w = scope.at(name).vector("scale", x.width)?;
    Ok(b.rms_norm(x, Some(w), EPS))
}
