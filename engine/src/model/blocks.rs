//! Parts that families share.

use crate::{
    Result,
    op::{Act, Gate, Heads, Rotary},
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
    Ok(b.rms_norm(x, w, eps))
}

/// Causal self-attention with rotary positions, `x[n, d] → [n, d]`: `q_proj`, `k_proj`, `v_proj`,
/// `o_proj`.
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
    let k = linear(b, scope, "k_proj", x, heads.n_kv_heads * heads.head_dim)?;
    let v = linear(b, scope, "v_proj", x, heads.n_kv_heads * heads.head_dim)?;
    let q = b.rope(q, rotary);
    let k = b.rope(k, rotary);
    let k = b.store(k);
    let v = b.store(v);
    let scale = (heads.head_dim as f32).sqrt().recip();
    let y = b.attention(q, k, v, heads, scale);
    linear(b, scope, "o_proj", y, x.width)
}

/// Gated MLP, `x[n, d] → [n, d]`: `gate_proj`, `up_proj` (`[hidden, d]`), `down_proj` (`[d, hidden]`).
///
/// # Errors
/// As [`linear`].
pub fn gated_mlp(
    b: &mut Builder,
    scope: &Scope<'_>,
    x: Act,
    hidden: usize,
    function: Gate,
) -> Result<Act> {
    let gate = linear(b, scope, "gate_proj", x, hidden)?;
    let up = linear(b, scope, "up_proj", x, hidden)?;
    let h = b.activate(gate, up, function);
    linear(b, scope, "down_proj", h, x.width)
}
