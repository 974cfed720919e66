//! Causal attention with shared key/value heads.

use crate::{formats::dot, op::Heads};

/// `q[n, n_heads · head_dim]` over `k, v [context, n_kv_heads · head_dim] → y` as `q`. Row `r` of `q` is
/// at position `pos + r` and sees positions `0 ..= pos + r`.
pub fn run(q: &[f32], k: &[f32], v: &[f32], heads: Heads, scale: f32, pos: u32, y: &mut [f32]) {
    let Heads {
        n_heads,
        n_kv_heads,
        head_dim,
    } = heads;
    let kv_width = n_kv_heads * head_dim;
    let width = n_heads * head_dim;
    let mut scores = Vec::new();
    for (r, (q, y)) in q
        .chunks_exact(width)
        .zip(y.chunks_exact_mut(width))
        .enumerate()
    {
        let n_keys = pos as usize + r + 1;
        for h in 0..n_heads {
            let q = &q[h * head_dim..][..head_dim];
            let y = &mut y[h * head_dim..][..head_dim];
            let kv = h / (n_heads / n_kv_heads) * head_dim;
            scores.clear();
            scores.extend((0..n_keys).map(|t| scale * dot(q, &k[t * kv_width + kv..][..head_dim])));
            softmax(&mut scores);
            y.fill(0.0);
            for (t, p) in scores.iter().enumerate() {
                for (y, v) in y.iter_mut().zip(&v[t * kv_width + kv..][..head_dim]) {
                    *y += p * v;
                }
            }
        }
    }
}

/// `exp(x − max) / Σ`, in place.
fn softmax(x: &mut [f32]) {
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for x in x.iter_mut() {
        *x = (*x - max).exp();
        sum += *x;
    }
    x.iter_mut().for_each(|x| *x /= sum);
}
