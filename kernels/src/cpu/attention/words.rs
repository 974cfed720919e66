//! Attention over keys and values that are whole numbers.

use super::Scorer;
use crate::{
    cpu::{
        cache::{self, DIMENSIONS, POSITIONS, SPAN, Words},
        exp::PowerOfTwo,
        integers::{self, Simd, Work, quantise},
    },
    op::Heads,
    program::Role,
};

/// Tokens that go together: what is read of the cache serves all of their heads.
const TOKENS: usize = 8;
/// Keys that are scored at once.
const KEYS: usize = 4;
/// Weights that are added up at once; blocks are multiples.
const LANES: usize = 8;
/// Of a weight: values are added up as whole numbers, a span at a time.
const LARGEST_WEIGHT: i16 = largest(SPAN, cache::largest(Role::Values));

/// Of a number, so that `n` products with others fit into 32 bits: a sum has four parts at least.
const fn largest(n: usize, other: i16) -> i16 {
    let most = i32::MAX / (n.div_ceil(4) as i32 * other as i32);
    if most < i16::MAX as i32 {
        most as i16
    } else {
        i16::MAX
    }
}

/// As [`super::Attention`], by dot products.
pub struct Attention<'a> {
    pub q: &'a [f32],
    pub k: &'a Words,
    pub v: &'a Words,
    pub heads: Heads,
    pub scorer: &'a Scorer,
    pub pos: u32,
    pub y: &'a mut [f32],
}

/// Sixteen numbers of a query, or weights of as many positions.
type Sixteen = [i16; POSITIONS];

impl Work for Attention<'_> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self {
            q, k, v, heads, y, ..
        } = self;
        let width = heads.n_heads * heads.head_dim;
        let per_kv = heads.n_heads / heads.n_kv_heads;
        let mut group = Group::default();
        let mut pos = self.pos as usize;
        for (q, y) in q.chunks(TOKENS * width).zip(y.chunks_mut(TOKENS * width)) {
            let n_tokens = q.len() / width;
            for kv in 0..heads.n_kv_heads {
                // All queries of a key/value head, token by token.
                let query = |row: usize| {
                    let head = kv * per_kv + row % per_kv;
                    (head, row / per_kv * width + head * heads.head_dim)
                };
                group.begin(n_tokens * per_kv, heads.head_dim, pos + n_tokens);
                for row in 0..group.n {
                    let (head, at) = query(row);
                    let q = &q[at..][..heads.head_dim];
                    group.put_query(row, q, self.scorer.factors[head]);
                }
                group.score::<S>(k, kv);
                for row in 0..group.n {
                    group.weigh(row, pos + row / per_kv + 1, v.scales(kv));
                }
                group.mix::<S>(v, kv);
                for (row, mixed) in group.y.chunks_exact(heads.head_dim).enumerate() {
                    let (_, at) = query(row);
                    y[at..][..heads.head_dim].copy_from_slice(mixed);
                }
            }
            pos += n_tokens;
        }
    }
}

/// Queries of one key/value head.
#[derive(Default)]
struct Group {
    /// How many.
    n: usize,
    head_dim: usize,
    /// Positions that the last of them sees, and beyond to a multiple of [`POSITIONS`].
    n_keys: usize,
    /// `[n, head_dim]`
    q: Vec<i16>,
    /// What `q` and the factor of a head's scores make of a product, `log₂ e` times, `[n]`.
    factors: Vec<f32>,
    /// `[n, n_keys]`: scores as powers of two, and then what they weigh with the values' scales.
    scores: Vec<f32>,
    /// `[n, n_keys]`
    weights: Vec<i16>,
    /// What one of them means, `[n, n_spans]`.
    steps: Vec<f32>,
    /// `[n, head_dim]`
    y: Vec<f32>,
}

impl Group {
    #[inline(always)]
    fn begin(&mut self, n: usize, head_dim: usize, n_keys: usize) {
        self.n = n;
        self.head_dim = head_dim;
        self.n_keys = n_keys.next_multiple_of(POSITIONS);
        self.q.resize(n * head_dim, 0);
        self.factors.resize(n, 0.0);
        self.scores.resize(n * self.n_keys, 0.0);
        self.weights.resize(n * self.n_keys, 0);
        self.steps.resize(n * self.n_keys.div_ceil(SPAN), 0.0);
        self.y.resize(n * head_dim, 0.0);
        self.y.fill(0.0);
    }

    /// `q[head_dim]`
    #[inline(always)]
    fn put_query(&mut self, row: usize, q: &[f32], factor: f32) {
        let to = &mut self.q[row * self.head_dim..][..self.head_dim];
        let step = quantise(q, largest(self.head_dim, cache::largest(Role::Keys)), to);
        self.factors[row] = std::f32::consts::LOG2_E * factor * step;
    }

    /// Scores of all keys, also of those that only the later tokens see.
    #[inline(always)]
    fn score<S: Simd>(&mut self, k: &Words, kv: usize) {
        for pos in (0..self.n_keys).step_by(KEYS) {
            // Two rows share what is read of the keys.
            for row in (0..self.n - self.n % 2).step_by(2) {
                self.score_rows::<S, 2>(k, kv, pos, row);
            }
            if self.n % 2 == 1 {
                self.score_rows::<S, 1>(k, kv, pos, self.n - 1);
            }
        }
    }

    #[inline(always)]
    fn score_rows<S: Simd, const N: usize>(
        &mut self,
        k: &Words,
        kv: usize,
        pos: usize,
        row: usize,
    ) {
        let n_words = self.head_dim / POSITIONS;
        let all_keys = k.keys(kv, pos).as_chunks().0;
        let all_q: &[Sixteen] = self.q.as_chunks().0;
        // Cut to one length, so that no bounds are checked.
        let keys: [_; KEYS] = std::array::from_fn(|key| &all_keys[key * n_words..][..n_words]);
        let q: [_; N] = std::array::from_fn(|r| &all_q[(row + r) * n_words..][..n_words]);
        let mut sums = [[S::none(); KEYS]; N];
        for i in 0..n_words {
            for (sums, q) in sums.iter_mut().zip(q) {
                for (sum, key) in sums.iter_mut().zip(keys) {
                    *sum = S::add_words(*sum, &key[i], &q[i]);
                }
            }
        }
        let scales = k.scales(kv)[pos..].first_chunk().expect("whole blocks");
        for (r, sums) in sums.into_iter().enumerate() {
            let factor = self.factors[row + r];
            let scores = S::sum_four(sums, scales).map(|score| factor * score);
            self.scores[(row + r) * self.n_keys + pos..][..KEYS].copy_from_slice(&scores);
        }
    }

    /// Makes weights of a row's scores: their softmax over the positions that it sees, times the values' scales.
    #[inline(always)]
    fn weigh(&mut self, row: usize, n_seen: usize, scales: &[f32]) {
        let scores = &mut self.scores[row * self.n_keys..][..self.n_keys];
        scores[n_seen..].fill(f32::NEG_INFINITY);
        let max = integers::largest(scores, f32::NEG_INFINITY, |x| x);
        let weights = &mut self.weights[row * self.n_keys..][..self.n_keys];
        let n_spans = self.n_keys.div_ceil(SPAN);
        let steps = &mut self.steps[row * n_spans..][..n_spans];
        let exponential = PowerOfTwo::new();
        let mut sums = [0.0; LANES];
        let spans = scores.chunks_mut(SPAN).zip(scales.chunks(SPAN));
        let spans = spans.zip(weights.chunks_mut(SPAN));
        for (step, ((scores, scales), weights)) in steps.iter_mut().zip(spans) {
            // One thing after another: all at once does not become SIMD.
            for score in scores.iter_mut() {
                *score = exponential.of(*score - max);
            }
            for p in scores.as_chunks::<LANES>().0 {
                sums.iter_mut().zip(p).for_each(|(sum, p)| *sum += p);
            }
            for (p, scale) in scores.iter_mut().zip(scales) {
                *p *= scale;
            }
            *step = quantise(scores, LARGEST_WEIGHT, weights);
        }
        let sum: f32 = sums.iter().sum();
        steps.iter_mut().for_each(|step| *step /= sum);
    }

    /// The values by their weights, into `y`.
    #[inline(always)]
    fn mix<S: Simd>(&mut self, v: &Words, kv: usize) {
        for span in 0..self.n_keys.div_ceil(SPAN) {
            for dim in (0..self.head_dim).step_by(DIMENSIONS) {
                for row in (0..self.n - self.n % 2).step_by(2) {
                    self.mix_rows::<S, 2>(v, kv, span, dim, row);
                }
                if self.n % 2 == 1 {
                    self.mix_rows::<S, 1>(v, kv, span, dim, self.n - 1);
                }
            }
        }
    }

    #[inline(always)]
    fn mix_rows<S: Simd, const N: usize>(
        &mut self,
        v: &Words,
        kv: usize,
        span: usize,
        dim: usize,
        row: usize,
    ) {
        let pos = span * SPAN;
        let n_words = (self.n_keys - pos).min(SPAN) / POSITIONS;
        let values = &v.values(kv, dim, span)[..n_words];
        let weights: [&[Sixteen]; N] = std::array::from_fn(|r| {
            let weights = &self.weights[(row + r) * self.n_keys + pos..];
            &weights.as_chunks().0[..n_words]
        });
        let mut sums = [[S::none(); DIMENSIONS]; N];
        for (i, values) in values.iter().enumerate() {
            for (sums, weights) in sums.iter_mut().zip(weights) {
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = S::add_words(*sum, value, &weights[i]);
                }
            }
        }
        let n_spans = self.n_keys.div_ceil(SPAN);
        for (r, sums) in sums.into_iter().enumerate() {
            let step = self.steps[(row + r) * n_spans + span];
            let y = &mut self.y[(row + r) * self.head_dim + dim..][..DIMENSIONS];
            let mixed = S::sum_four(sums, &[step; DIMENSIONS]);
            y.iter_mut().zip(mixed).for_each(|(y, mixed)| *y += mixed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cpu::{attention, integers::Level},
        formats::tests::noise,
        op::Metric,
    };

    /// Heads of all kinds, positions that end within a block, more than one span, one token and many.
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    fn words_agree_with_floats() {
        for (n_heads, n_kv_heads, head_dim) in [(1, 1, 16), (9, 3, 64), (4, 1, 32), (2, 2, 128)] {
            let heads = Heads {
                n_heads,
                n_kv_heads,
                head_dim,
            };
            for (pos, n) in [(0, 1), (0, 5), (37, 1), (15, 20), (SPAN + 50, 2)] {
                agree(heads, pos, n);
            }
        }
    }

    fn agree(heads: Heads, pos: usize, n: usize) {
        let numbers = |seed, len| -> Vec<f32> {
            let byte = |&b: &u8| f32::from(b as i8) / 40.0;
            noise(seed, len).iter().map(byte).collect()
        };
        let (width, kv_width) = (
            heads.n_heads * heads.head_dim,
            heads.n_kv_heads * heads.head_dim,
        );
        let n_keys = pos + n;
        let q = numbers(3, n * width);
        let (k, v) = (numbers(5, n_keys * kv_width), numbers(7, n_keys * kv_width));
        let metric = Metric::dot((heads.head_dim as f32).powf(-0.5));
        let scorer = &Scorer::new(metric, heads.n_heads, |_| unreachable!("no parameters"));
        let stored = |role, x: &[f32]| {
            let mut cache = Words::new(role, kv_width, heads.head_dim, n_keys).unwrap();
            for (pos, x) in x.chunks_exact(kv_width).enumerate() {
                cache.store(pos, x);
            }
            cache
        };
        let (mut exact, mut y) = (vec![0.0; n * width], vec![f32::NAN; n * width]);
        let level = Level::detect();
        let pos = pos as u32;
        level.run(attention::Attention {
            q: &q,
            k: &k,
            v: &v,
            heads,
            scorer,
            pos,
            y: &mut exact,
        });
        level.run(Attention {
            q: &q,
            k: &stored(Role::Keys, &k),
            v: &stored(Role::Values, &v),
            heads,
            scorer,
            pos,
            y: &mut y,
        });
        let power: f32 = exact.iter().map(|x| x * x).sum();
        let error: f32 = exact.iter().zip(&y).map(|(a, b)| (a - b) * (a - b)).sum();
        assert!(
            error <= 3e-6 * power,
            "{heads:?} at {pos}, {n}: {error:e} of {power:e}"
        );
    }
}
