//! Causal attention with shared key/value heads.

use super::{Packed, exp::exp, map};
use crate::{
    formats::{LANES, dot},
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
    let per_key = n_heads / n_kv_heads;
    let mut scores = Vec::new();
    for (r, (q, y)) in q
        .chunks_exact(width)
        .zip(y.chunks_exact_mut(width))
        .enumerate()
    {
        let n_keys = pos as usize + r + 1;
        scores.resize(per_key * n_keys, 0.0);
        // The query heads of one key head together: what is read of the cache serves them all.
        let of_key = q
            .chunks_exact(per_key * head_dim)
            .zip(y.chunks_exact_mut(per_key * head_dim));
        for (kv, (q, y)) in of_key.enumerate() {
            for t in 0..n_keys {
                let key = &k[t * kv_width + kv * head_dim..][..head_dim];
                for (i, q) in q.chunks_exact(head_dim).enumerate() {
                    scores[i * n_keys + t] = scorer.score(kv * per_key + i, q, key);
                }
            }
            scores.chunks_exact_mut(n_keys).for_each(softmax);
            y.fill(0.0);
            let value = |t: usize| &v[t * kv_width + kv * head_dim..][..head_dim];
            let in_fours = n_keys / 4 * 4;
            for t in (0..in_fours).step_by(4) {
                let four = [value(t), value(t + 1), value(t + 2), value(t + 3)];
                for (i, y) in y.chunks_exact_mut(head_dim).enumerate() {
                    add_four(y, &scores[i * n_keys + t..][..4], four);
                }
            }
            for t in in_fours..n_keys {
                for (i, y) in y.chunks_exact_mut(head_dim).enumerate() {
                    let p = scores[i * n_keys + t];
                    y.iter_mut().zip(value(t)).for_each(|(y, v)| *y += p * v);
                }
            }
        }
    }
}

/// `y += Σ p · v`: `y` is read and written once for four.
fn add_four(y: &mut [f32], p: &[f32], v: [&[f32]; 4]) {
    let n = y.len();
    let [a, b, c, d] = v.map(|v| &v[..n]);
    for i in 0..n {
        y[i] += (p[0] * a[i] + p[1] * b[i]) + (p[2] * c[i] + p[3] * d[i]);
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
    x.iter_mut().for_each(|x| *x = exp(*x - max));
    let (whole, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for x in whole {
        sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
    }
    let factor = 1.0 / (sums.iter().sum::<f32>() + rest.iter().sum::<f32>());
    x.iter_mut().for_each(|x| *x *= factor);
}

/// A head's part of `[n_heads, head_dim]`.
fn of_head(values: &[f32], head: usize, head_dim: usize) -> &[f32] {
    &values[head * head_dim..][..head_dim]
}
