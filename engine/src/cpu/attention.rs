//! Causal attention with shared key/value heads.

use super::{Packed, map};
use crate::{
    formats::dot,
    op::{Balls, Heads, Metric, Similarity, Weight},
};

/// `q[n, n_heads · head_dim]` over `k, v [context, n_kv_heads · head_dim] → y` as `q`. Row `r` of `q` is
/// at position `pos + r` and sees positions `0 ..= pos + r`.
pub fn run(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    heads: Heads,
    scorer: &Scorer,
    pos: u32,
    y: &mut [f32],
) {
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
            let keys = (0..n_keys).map(|t| &k[t * kv_width + kv..][..head_dim]);
            scores.clear();
            scores.extend(keys.map(|k| scorer.score(h, q, k)));
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

/// A metric with its parameters' values.
pub struct Scorer {
    similarity: Similarity,
    /// Factor of each head's scores, `[n_heads]`.
    factors: Vec<f32>,
    /// `[n_heads, head_dim]`
    diagonal: Option<Vec<f32>>,
    /// `[n_heads, head_dim]` and `[n_heads]`.
    balls: Option<(Vec<f32>, Vec<f32>)>,
}

impl Scorer {
    pub fn new<'w>(metric: Metric, n_heads: usize, w: impl Fn(Weight) -> &'w Packed) -> Self {
        let alpha = metric
            .alpha
            .map_or_else(|| vec![1.0; n_heads], |alpha| map::values(alpha, &w));
        Self {
            similarity: metric.similarity,
            factors: alpha.iter().map(|alpha| alpha * metric.scale).collect(),
            diagonal: metric.diagonal.map(|diagonal| map::values(diagonal, &w)),
            balls: metric
                .balls
                .map(|balls| (w(balls.origins).floats(), map::values(balls.radii, &w))),
        }
    }

    /// `q, k [head_dim]`
    fn score(&self, head: usize, q: &[f32], k: &[f32]) -> f32 {
        if let Some((origins, radii)) = &self.balls {
            let origin = of_head(origins, head, q.len());
            let squares = k.iter().zip(origin).map(|(k, o)| (k - o) * (k - o));
            if squares.sum::<f32>().sqrt() > radii[head] {
                return Balls::OUTSIDE;
            }
        }
        let similarity = match (self.similarity, &self.diagonal) {
            (Similarity::Dot, _) => dot(q, k),
            (Similarity::NegSqDist, None) => {
                -q.iter().zip(k).map(|(q, k)| (q - k) * (q - k)).sum::<f32>()
            }
            (Similarity::NegSqDist, Some(diagonal)) => {
                let terms = q.iter().zip(k).zip(of_head(diagonal, head, q.len()));
                -terms.map(|((q, k), m)| m * (q - k) * (q - k)).sum::<f32>()
            }
            (Similarity::Cosine, _) => dot(q, k) / (dot(q, q) * dot(k, k)).max(1e-24).sqrt(),
        };
        self.factors[head] * similarity
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

/// A head's part of `[n_heads, head_dim]`.
fn of_head(values: &[f32], head: usize, head_dim: usize) -> &[f32] {
    &values[head * head_dim..][..head_dim]
}
