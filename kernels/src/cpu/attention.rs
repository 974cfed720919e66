//! Causal attention with shared key/value heads, over floats; `words` is what is fast.

pub mod words;

use super::{
    Packed,
    exp::exp,
    integers::{HALVES, Simd, Work, largest},
    map,
};
use crate::{
    formats::{LANES, dot},
    op::{Balls, Heads, Metric, Similarity, Weight},
};

/// Rows of `q` that go together, and keys or values: what is read of the cache serves all of these rows, and it is read
/// from its beginning to its end.
const ROWS: usize = 8;
const KEYS: usize = 4;

/// `q[n, n_heads · head_dim]` over `k, v [context, n_kv_heads · head_dim] → y` as `q`. Row `r` of `q` is
/// at position `pos + r` and sees positions `0 ..= pos + r`.
pub struct Attention<'a> {
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub heads: Heads,
    pub scorer: &'a Scorer,
    pub pos: u32,
    pub y: &'a mut [f32],
}

impl Work for Attention<'_> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { q, k, v, heads, .. } = self;
        let kv_width = heads.n_kv_heads * heads.head_dim;
        let block = ROWS * heads.n_heads * heads.head_dim;
        let mut scores = Vec::new();
        let mut n_keys = self.pos as usize;
        for (q, y) in q.chunks(block).zip(self.y.chunks_mut(block)) {
            let first = n_keys;
            n_keys += q.len() / (heads.n_heads * heads.head_dim);
            scores.resize((n_keys - first) * heads.n_heads * n_keys, 0.0);
            let keys = &k[..n_keys * kv_width];
            self.scorer.scores::<S>(q, keys, heads, &mut scores);
            for (i, scores) in scores.chunks_exact_mut(n_keys).enumerate() {
                let (seen, unseen) = scores.split_at_mut(first + i / heads.n_heads + 1);
                softmax(seen);
                unseen.fill(0.0);
            }
            mix(&scores, &v[..n_keys * kv_width], heads, y);
        }
    }
}

/// `scores[n · n_heads, n_keys] · v[n_keys, n_kv_heads · head_dim] → y[n, n_heads · head_dim]`, each query head by the values of its
/// key head.
#[inline(always)]
fn mix(scores: &[f32], v: &[f32], heads: Heads, y: &mut [f32]) {
    let Heads { head_dim, .. } = heads;
    let per_key = heads.n_heads / heads.n_kv_heads;
    let kv_width = heads.n_kv_heads * head_dim;
    let n_keys = v.len() / kv_width;
    y.fill(0.0);
    for (block, values) in v.chunks(KEYS * kv_width).enumerate() {
        let t = block * KEYS;
        let n = values.len() / kv_width;
        for (at, y) in y.chunks_exact_mut(head_dim).enumerate() {
            let kv = at % heads.n_heads / per_key;
            let value = |i: usize| &values[i * kv_width + kv * head_dim..][..head_dim];
            let scores = &scores[at * n_keys + t..][..n];
            if let Ok(four) = scores.try_into() {
                add_four(y, four, [value(0), value(1), value(2), value(3)]);
            } else {
                for (i, p) in scores.iter().enumerate() {
                    y.iter_mut().zip(value(i)).for_each(|(y, v)| *y += p * v);
                }
            }
        }
    }
}

/// `y += Σ p · v`: `y` is read and written once for four.
#[inline(always)]
fn add_four(y: &mut [f32], p: &[f32; KEYS], v: [&[f32]; KEYS]) {
    let n = y.len();
    let [a, b, c, d] = v.map(|v| &v[..n]);
    for i in 0..n {
        y[i] += (p[0] * a[i] + p[1] * b[i]) + (p[2] * c[i] + p[3] * d[i]);
    }
}

/// `q[head_dim] · k`, of four keys.
#[inline(always)]
fn dot_four<S: Simd>(q: &[f32], k: [&[f32]; KEYS]) -> [f32; KEYS] {
    let (whole, rest) = q.as_chunks::<HALVES>();
    let [a, b, c, d] = k.map(|k| &k.as_chunks::<HALVES>().0[..whole.len()]);
    // By hand: the compiler keeps four sums in registers.
    let (mut to_a, mut to_b, mut to_c, mut to_d) = (S::zero(), S::zero(), S::zero(), S::zero());
    for (i, q) in whole.iter().enumerate() {
        to_a = S::add_floats(to_a, q, &a[i]);
        to_b = S::add_floats(to_b, q, &b[i]);
        to_c = S::add_floats(to_c, q, &c[i]);
        to_d = S::add_floats(to_d, q, &d[i]);
    }
    let mut dots = [S::sum(to_a), S::sum(to_b), S::sum(to_c), S::sum(to_d)];
    let at = q.len() - rest.len();
    for (dot, k) in dots.iter_mut().zip(k) {
        *dot += rest.iter().zip(&k[at..]).map(|(q, k)| q * k).sum::<f32>();
    }
    dots
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

    /// `q[n, n_heads · head_dim], k[n_keys, n_kv_heads · head_dim] → scores[n · n_heads, n_keys]`
    #[inline(always)]
    fn scores<S: Simd>(&self, q: &[f32], k: &[f32], heads: Heads, scores: &mut [f32]) {
        let Heads { head_dim, .. } = heads;
        let per_key = heads.n_heads / heads.n_kv_heads;
        let kv_width = heads.n_kv_heads * head_dim;
        let n_keys = k.len() / kv_width;
        let is_plain = self.similarity == Similarity::Dot && self.balls.is_none();
        for (block, keys) in k.chunks(KEYS * kv_width).enumerate() {
            let t = block * KEYS;
            let n = keys.len() / kv_width;
            for (at, q) in q.chunks_exact(head_dim).enumerate() {
                let head = at % heads.n_heads;
                let key = |i: usize| &keys[i * kv_width + head / per_key * head_dim..][..head_dim];
                let scores = &mut scores[at * n_keys + t..][..n];
                if is_plain && n == KEYS {
                    let four = dot_four::<S>(q, [key(0), key(1), key(2), key(3)]);
                    let four = four.map(|dot| self.factors[head] * dot);
                    scores.copy_from_slice(&four);
                } else {
                    for (i, score) in scores.iter_mut().enumerate() {
                        *score = self.score(head, q, key(i));
                    }
                }
            }
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
#[inline(always)]
fn softmax(x: &mut [f32]) {
    let factor = 1.0 / softmax_terms(x);
    x.iter_mut().for_each(|x| *x *= factor);
}

/// `exp(x − max)`, in place, and their sum.
#[inline(always)]
fn softmax_terms(x: &mut [f32]) -> f32 {
    let max = largest(x, f32::NEG_INFINITY, |x| x);
    x.iter_mut().for_each(|x| *x = exp(*x - max));
    let (whole, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for x in whole {
        sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
    }
    sums.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// A head's part of `[n_heads, head_dim]`.
fn of_head(values: &[f32], head: usize, head_dim: usize) -> &[f32] {
    &values[head * head_dim..][..head_dim]
}
