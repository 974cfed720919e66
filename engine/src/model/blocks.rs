//! Parts that families share.

use super::bad;
use crate::{
    Result,
    op::{Act, Function, Heads, Rotary, Router, Weight},
    program::Builder,
    weights::Scope,
};

/// `x[n, d] → [n, rows]` by `name.weight`, and `name.bias` where the file has one.
///
/// # Errors
/// When the weight is missing or of another shape or format.
pub fn linear(b: &mut Builder, scope: &Scope<'_>, name: &str, x: Act, rows: usize) -> Result<Act> {
    let scope = scope.at(name);
    let w = scope.matrix("weight", rows, x.width)?;
    let bias = if scope.has("bias") {
        Some(scope.vector("bias", rows)?)
    } else {
        None
    };
    Ok(b.linear(x, w, bias))
}

/// `x[n, d] → [n, d]` by `name.weight`.
///
/// # Errors
/// As [`linear`].
pub fn rms_norm(b: &mut Builder, scope: &Scope<'_>, name: &str, x: Act, eps: f32) -> Result<Act> {
    let w = scope.at(name).vector("weight", x.width)?;
    Ok(b.rms_norm(x, Some(w), eps))
}

/// Causal self-attention with rotary positions, `x[n, d] → [n, d]`: `q_proj`, `k_proj`, `v_proj`,
/// `o_proj`. The rows of `k_proj` tell how many key/value heads there are.
///
/// # Errors
/// As [`linear`].
pub fn self_attention(
    b: &mut Builder,
    scope: &Scope<'_>,
    x: Act,
    heads: Heads,
    rotary: &Rotary,
) -> Result<Act> {
    let q = linear(b, scope, "q_proj", x, heads.n_heads * heads.head_dim)?;
    let [kv_width, _] = scope
        .at("k_proj")
        .sizes("weight", [heads.n_kv_heads * heads.head_dim, x.width])?;
    let k = linear(b, scope, "k_proj", x, kv_width)?;
    let v = linear(b, scope, "v_proj", x, kv_width)?;
    let heads = heads_within(q.width, kv_width, heads.head_dim)?;
    let y = attend(b, [q, k, v], heads, rotary);
    linear(b, scope, "o_proj", y, x.width)
}

/// Heads that attention can do.
///
/// # Errors
/// [`Error::BadConfig`](crate::Error::BadConfig) when they do not divide, or are of an impossible width.
pub fn heads(n_heads: usize, n_kv_heads: usize, head_dim: usize) -> Result<Heads> {
    let possible = n_kv_heads != 0 && n_heads.checked_mul(head_dim).is_some();
    if n_heads == 0 || !possible || !n_heads.is_multiple_of(n_kv_heads) {
        return Err(bad(format!(
            "{n_heads} attention heads cannot share {n_kv_heads} key/value heads"
        )));
    }
    if head_dim == 0 || !head_dim.is_multiple_of(2) || head_dim > 256 {
        return Err(bad(format!(
            "head_dim is {head_dim}, and an even number up to 256 is needed"
        )));
    }
    Ok(Heads {
        n_heads,
        n_kv_heads,
        head_dim,
    })
}

/// As many heads of `head_dim` as rows of these widths hold.
///
/// # Errors
/// As [`heads`], and when they hold no whole number of them.
pub fn heads_within(q_width: usize, kv_width: usize, head_dim: usize) -> Result<Heads> {
    let count = |width: usize| {
        let n = width.checked_div(head_dim)?;
        (n * head_dim == width).then_some(n)
    };
    match (count(q_width), count(kv_width)) {
        (Some(n_heads), Some(n_kv_heads)) => heads(n_heads, n_kv_heads, head_dim),
        _ => Err(bad(format!(
            "queries of {q_width} and keys of {kv_width} columns are no whole heads of {head_dim}"
        ))),
    }
}

/// Radians per position of each pair of a head: `theta^(−2i / head_dim)`, `[head_dim / 2]`.
pub fn frequencies(head_dim: usize, theta: f32) -> Vec<f32> {
    let frequency = |i| (1.0 / f64::from(theta).powf(2.0 * i as f64 / head_dim as f64)) as f32;
    (0..head_dim / 2).map(frequency).collect()
}

/// Attention proper: queries and keys turned, keys and values stored,
/// `q[n, n_heads · head_dim], k, v [n, n_kv_heads · head_dim] → [n, n_heads · head_dim]`.
pub fn attend(b: &mut Builder, [q, k, v]: [Act; 3], heads: Heads, rotary: &Rotary) -> Act {
    let q = b.rope(q, rotary);
    let k = b.rope(k, rotary);
    let k = b.store(k);
    let v = b.store(v);
    let scale = (heads.head_dim as f32).sqrt().recip();
    b.attention(q, k, v, heads, scale)
}

/// Gated MLP, `x[n, d] → [n, d]`: `gate_proj`, `up_proj` (`[hidden, d]`), `down_proj` (`[d, hidden]`). `hidden` is what
/// config.json says, for a message; the shapes lead.
///
/// # Errors
/// As [`linear`].
pub fn gated_mlp(
    b: &mut Builder,
    scope: &Scope<'_>,
    x: Act,
    hidden: usize,
    function: Function,
) -> Result<Act> {
    let [hidden, _] = scope.at("gate_proj").sizes("weight", [hidden, x.width])?;
    let gate = linear(b, scope, "gate_proj", x, hidden)?;
    let up = linear(b, scope, "up_proj", x, hidden)?;
    let h = b.activate(gate, Some(up), function);
    linear(b, scope, "down_proj", h, x.width)
}

/// A layer's experts, each matrix of all of them below one another.
#[derive(Debug, Clone, Copy)]
pub struct Experts {
    /// How many.
    pub n: usize,
    /// `[n · hidden, d]`, where the MLP is gated.
    pub gate: Option<Weight>,
    /// `[n · hidden, d]`
    pub up: Weight,
    /// `[n · d, hidden]`
    pub down: Weight,
    /// On the gate, or on `up` where there is none.
    pub function: Function,
}

/// Mixture of experts, `x[n, d], logits[n, n_experts] → [n, d]`: each token through the experts that the
/// router chose, weighted and added up.
pub fn mixture(
    b: &mut Builder,
    x: Act,
    logits: Act,
    bias: Option<Weight>,
    router: Router,
    experts: &Experts,
) -> Act {
    let routing = b.route(logits, bias, router);
    let up = b.expert_linear(x, experts.up, routing, experts.n);
    let h = match experts.gate {
        Some(gate) => {
            let gate = b.expert_linear(x, gate, routing, experts.n);
            b.activate(gate, Some(up), experts.function)
        }
        None => b.activate(up, None, experts.function),
    };
    let y = b.expert_linear(h, experts.down, routing, experts.n);
    b.combine(y, routing)
}
