//! Attention over keys and values that are whole numbers.
//!
//! Scores and mixed values are sums of one kind ([`products`]): a row's numbers two by two, each pair times eight pairs of the
//! cache that lie side by side. Of scores they are two dimensions of a query and of eight keys; of values, two positions and
//! eight dimensions. So no sum is ever made across lanes.

use super::Scorer;
use crate::{
    cpu::{
        cache::{LARGEST, MOST_DIMENSIONS, SPAN, Words},
        exp::PowerOfTwo,
        integers::{self, Magnitudes, Pair, Pairs, Simd, TURN, Work, round},
    },
    formats::LANES,
    op::Heads,
};

/// Rows that go together: what is read of the cache serves all of them, and a browser has registers for their sums.
const ROWS: usize = 4;

/// What the magnitudes of as many whole numbers as go into a sum add up to at most, before each is rounded: their products with
/// numbers of the cache then fit into 32 bits, all together.
const MOST: f32 = i32::MAX as f32 / LARGEST as f32 - SPAN as f32;

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

impl Work for Attention<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let mut buffers = Buffers::default();
        let heads = self.heads;
        let n_rows = self.q.len() / heads.head_dim / heads.n_kv_heads;
        for kv in 0..heads.n_kv_heads {
            for first in (0..n_rows).step_by(ROWS) {
                match n_rows - first {
                    1 => self.attend::<S, 1>(kv, first, &mut buffers),
                    2 => self.attend::<S, 2>(kv, first, &mut buffers),
                    3 => self.attend::<S, 3>(kv, first, &mut buffers),
                    _ => self.attend::<S, ROWS>(kv, first, &mut buffers),
                }
            }
        }
    }
}

/// A query.
struct Row {
    head: usize,
    /// Where it begins in `q` and `y`.
    at: usize,
    /// Positions that it sees.
    n_seen: usize,
}

/// What `N` rows need meanwhile.
#[derive(Default)]
struct Buffers {
    /// `[head_dim / 2, N]`
    q: Vec<Pair>,
    /// `[N, n_keys]`
    scores: Vec<f32>,
    /// `[n_keys / 2, N]`
    weights: Vec<Pair>,
    /// What one of them means, `[N, n_spans]`.
    steps: Vec<f32>,
}

impl Attention<'_> {
    /// Of the queries of a key/value head, token by token.
    #[inline(always)]
    fn row(&self, kv: usize, row: usize) -> Row {
        let per_kv = self.heads.n_heads / self.heads.n_kv_heads;
        let (token, head) = (row / per_kv, kv * per_kv + row % per_kv);
        Row {
            head,
            at: (token * self.heads.n_heads + head) * self.heads.head_dim,
            n_seen: self.pos as usize + token + 1,
        }
    }

    /// `N` rows from the `first` on.
    #[inline(always)]
    fn attend<S: Simd, const N: usize>(&mut self, kv: usize, first: usize, buffers: &mut Buffers) {
        let head_dim = self.heads.head_dim;
        let rows: [Row; N] = std::array::from_fn(|r| self.row(kv, first + r));
        // All that the last row sees, and beyond it to whole blocks.
        let n_keys = rows[N - 1].n_seen.next_multiple_of(LANES);
        let n_spans = n_keys.div_ceil(SPAN);
        buffers.q.resize(N * head_dim / 2, [0; 2]);
        buffers.scores.resize(N * n_keys, 0.0);
        buffers.weights.resize(N * n_keys / 2, [0; 2]);
        buffers.steps.resize(N * n_spans, 0.0);

        let q = buffers.q.as_chunks_mut::<N>().0;
        let mut factors = [0.0; N];
        for (r, row) in rows.iter().enumerate() {
            let x = &self.q[row.at..][..head_dim];
            let mut magnitudes = Magnitudes::default();
            for x in x.as_chunks().0 {
                magnitudes.take(x.map(f32::abs));
            }
            let step = magnitudes.step(MOST);
            lay(x, step, r, q);
            factors[r] = std::f32::consts::LOG2_E * self.scorer.factors[row.head] * step;
        }
        S::apart(Score {
            q,
            factors,
            keys: self.k.quants(kv),
            scales: self.k.scales(kv),
            scores: &mut buffers.scores,
        });
        let weights = buffers.weights.as_chunks_mut::<N>().0;
        let each = buffers.scores.chunks_exact_mut(n_keys);
        let each = each.zip(buffers.steps.chunks_exact_mut(n_spans));
        for (row, (scores, steps)) in each.enumerate() {
            scores[rows[row].n_seen..].fill(f32::NEG_INFINITY);
            S::apart(Weigh {
                scores,
                scales: self.v.scales(kv),
                row,
                weights,
                steps,
            });
        }
        let mut y = [const { [0.0; MOST_DIMENSIONS] }; N];
        let spans = self.v.quants(kv).chunks(head_dim / LANES * SPAN / 2);
        for (span, (values, weights)) in spans.zip(weights.chunks(SPAN / 2)).enumerate() {
            S::apart(Mix {
                weights,
                steps: std::array::from_fn(|r| buffers.steps[r * n_spans + span]),
                values,
                y: &mut y,
            });
        }
        for (row, y) in rows.iter().zip(y) {
            self.y[row.at..][..head_dim].copy_from_slice(&y[..head_dim]);
        }
    }
}

/// Lays a row's numbers among those of the others, as so many steps each.
#[inline(always)]
fn lay<const N: usize>(x: &[f32], step: f32, row: usize, pairs: &mut [[Pair; N]]) {
    const { assert!(MOST_DIMENSIONS <= SPAN) };
    let mut quants = [0; SPAN];
    let quants = &mut quants[..x.len()];
    round(x, 1.0 / step, quants);
    for (pairs, pair) in pairs.iter_mut().zip(quants.as_chunks().0) {
        pairs[row] = *pair;
    }
}

/// Makes scores, as powers of two, of whole blocks of keys; also of those that only later rows see.
struct Score<'a, const N: usize> {
    q: &'a [[Pair; N]],
    factors: [f32; N],
    keys: &'a [Pairs],
    scales: &'a [f32],
    /// `[N, n_keys]`
    scores: &'a mut [f32],
}

impl<const N: usize> Work for Score<'_, N> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let n_keys = self.scores.len() / N;
        let scales = self.scales[..n_keys].as_chunks::<LANES>().0;
        let blocks = self.keys.chunks_exact(self.q.len()).zip(scales);
        for (block, (keys, scales)) in blocks.enumerate() {
            let sums = products::<S, N>(self.q, keys);
            for (r, sums) in sums.into_iter().enumerate() {
                let mut eight = S::floats(sums);
                for (score, scale) in eight.iter_mut().zip(scales) {
                    *score *= self.factors[r] * scale;
                }
                self.scores[r * n_keys + block * LANES..][..LANES].copy_from_slice(&eight);
            }
        }
    }
}

/// Makes weights of a row's scores: their softmax, times the values' scales.
struct Weigh<'a, const N: usize> {
    scores: &'a mut [f32],
    scales: &'a [f32],
    row: usize,
    weights: &'a mut [[Pair; N]],
    steps: &'a mut [f32],
}

impl<const N: usize> Work for Weigh<'_, N> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let max = integers::largest(self.scores, f32::NEG_INFINITY, |x| x);
        let exponential = PowerOfTwo::new();
        let mut sums = [0.0; LANES];
        let spans = self.scores.chunks_mut(SPAN).zip(self.scales.chunks(SPAN));
        let spans = spans.zip(self.weights.chunks_mut(SPAN / 2));
        for (step, ((scores, scales), weights)) in self.steps.iter_mut().zip(spans) {
            // One thing after another: all at once does not become SIMD.
            for score in scores.iter_mut() {
                *score = exponential.of(*score - max);
            }
            let mut magnitudes = Magnitudes::default();
            let eights = scores.as_chunks_mut::<LANES>().0.iter_mut();
            for (p, scales) in eights.zip(scales.as_chunks::<LANES>().0) {
                sums = std::array::from_fn(|i| sums[i] + p[i]);
                *p = std::array::from_fn(|i| p[i] * scales[i]);
                magnitudes.take(*p);
            }
            *step = magnitudes.step(MOST);
            lay(scores, *step, self.row, weights);
        }
        let sum: f32 = sums.iter().sum();
        self.steps.iter_mut().for_each(|step| *step /= sum);
    }
}

/// Adds the values of a span by their weights.
struct Mix<'a, const N: usize> {
    weights: &'a [[Pair; N]],
    steps: [f32; N],
    values: &'a [Pairs],
    y: &'a mut [[f32; MOST_DIMENSIONS]; N],
}

impl<const N: usize> Work for Mix<'_, N> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        for (block, values) in self.values.chunks_exact(SPAN / 2).enumerate() {
            let sums = products::<S, N>(self.weights, values);
            for (r, sums) in sums.into_iter().enumerate() {
                let step = self.steps[r];
                let y = &mut self.y[r][block * LANES..][..LANES];
                for (y, sum) in y.iter_mut().zip(S::floats(sums)) {
                    *y += step * sum;
                }
            }
        }
    }
}

/// `Σ x[pair, r] · m[pair, lane]` for each `r` and `lane`; of an even number of pairs.
#[inline(always)]
fn products<S: Simd, const N: usize>(x: &[[Pair; N]], m: &[Pairs]) -> [S::Eight; N] {
    let mut sums = [S::eight(); N];
    let turns = x.as_chunks::<TURN>().0.iter();
    for (x, m) in turns.zip(m.as_chunks::<TURN>().0) {
        S::fetch_ahead(m);
        for (x, m) in x.iter().zip(m) {
            for (sums, x) in sums.iter_mut().zip(x) {
                *sums = S::add_pairs(*sums, x, m);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cpu::{attention, integers::Level},
        formats::tests::noise,
        op::Metric,
        program::Role,
    };

    /// Heads of all kinds, positions that end within a block, more than one span, one token and many.
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    fn words_agree_with_floats() {
        let numbers = |seed, len| -> Vec<f32> {
            let byte = |&b: &u8| f32::from(b as i8) / 40.0;
            noise(seed, len).iter().map(byte).collect()
        };
        let all_heads = [(1, 1, 16), (9, 3, 64), (4, 1, 32), (2, 2, 128), (2, 1, 24)];
        for (n_heads, n_kv_heads, head_dim) in all_heads {
            let heads = Heads {
                n_heads,
                n_kv_heads,
                head_dim,
            };
            for (pos, n) in [(0, 1), (0, 5), (37, 1), (15, 20), (SPAN + 50, 2)] {
                let q = numbers(3, n * n_heads * head_dim);
                let kv = |seed| numbers(seed, (pos + n) * n_kv_heads * head_dim);
                agree(heads, pos, &q, &kv(5), &kv(7));
            }
        }
    }

    /// As large as they can be: every number of a sum, of a query and of weights that are alike.
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    fn sums_fit_into_32_bits() {
        let heads = Heads {
            n_heads: 1,
            n_kv_heads: 1,
            head_dim: MOST_DIMENSIONS,
        };
        let n_keys = 2 * SPAN;
        let ones = vec![1.0; n_keys * MOST_DIMENSIONS];
        let q = &ones[..MOST_DIMENSIONS];
        agree(heads, n_keys - 1, q, &ones, &ones);
        // Keys of opposite signs, so that a score that does not fit weighs the wrong value.
        let in_turn = |other: f32| [vec![1.0; MOST_DIMENSIONS], vec![other; MOST_DIMENSIONS]];
        let in_turn = |other| in_turn(other).concat().repeat(SPAN);
        agree(heads, n_keys - 1, q, &in_turn(-1.0), &in_turn(0.5));
    }

    /// `q[n, n_heads · head_dim]` over `k, v [pos + n, n_kv_heads · head_dim]`
    fn agree(heads: Heads, pos: usize, q: &[f32], k: &[f32], v: &[f32]) {
        let kv_width = heads.n_kv_heads * heads.head_dim;
        let n_keys = k.len() / kv_width;
        let metric = Metric::dot((heads.head_dim as f32).powf(-0.5));
        let scorer = &Scorer::new(metric, heads.n_heads, |_| unreachable!("no parameters"));
        let stored = |role, x: &[f32]| {
            let mut cache = Words::new(role, kv_width, heads.head_dim, n_keys).unwrap();
            for (pos, x) in x.chunks_exact(kv_width).enumerate() {
                cache.store(pos, x);
            }
            cache
        };
        let (mut exact, mut y) = (vec![0.0; q.len()], vec![f32::NAN; q.len()]);
        let level = Level::detect();
        let pos = pos as u32;
        level.run(attention::Attention {
            q,
            k,
            v,
            heads,
            scorer,
            pos,
            y: &mut exact,
        });
        level.run(Attention {
            q,
            k: &stored(Role::Keys, k),
            v: &stored(Role::Values, v),
            heads,
            scorer,
            pos,
            y: &mut y,
        });
        let power: f32 = exact.iter().map(|x| x * x).sum();
        let error: f32 = exact.iter().zip(&y).map(|(a, b)| (a - b) * (a - b)).sum();
        assert!(
            error <= 3e-7 * power,
            "{heads:?} at {pos} of {n_keys}: {error:e} of {power:e}"
        );
    }
}
