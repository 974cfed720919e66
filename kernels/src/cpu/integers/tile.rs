//! Many tokens: rows of weights are unpacked once for all of them.

use super::{Group, HALVES, Halves, Order, Packed, Quants, Simd, Token, meaning, scale_of};
use crate::formats::{Format, GROUP};

/// Rows of the matrix that one pass takes together, so that each `x` is read once for all of them.
pub const TILE: usize = 4;

/// `[TILE, cols / 32]` groups of weights.
#[derive(Debug, Default)]
pub struct Tile {
    groups: Vec<Group>,
    /// The groups' scales.
    steps: Vec<f32>,
    /// What is added to each weight of a group.
    minima: Vec<f32>,
}

impl Tile {
    #[inline(always)]
    pub fn unpack<S: Simd>(&mut self, s: S, w: &Packed, rows: [usize; TILE]) {
        let n = w.cols / GROUP;
        self.groups.resize(TILE * n, [0; GROUP]);
        self.steps.resize(TILE * n, 0.0);
        self.minima.resize(TILE * n, 0.0);
        for (r, row) in rows.into_iter().enumerate() {
            let packed = w.row(row);
            let groups = &mut self.groups[r * n..][..n];
            match w.format {
                Format::Q8 => unpack::<_, GROUP>(s, packed.quants, groups),
                Format::B1 => unpack::<_, { GROUP / 8 }>(s, packed.quants, groups),
                _ => unpack::<_, { GROUP / 2 }>(s, packed.quants, groups),
            }
            let steps = &mut self.steps[r * n..][..n];
            let minima = &mut self.minima[r * n..][..n];
            let widened = |halves: &Halves| S::lanes(s.scales(halves, &[1.0; HALVES]));
            match w.format {
                Format::Q8 => {
                    let chunks = w.scales(row, n.div_ceil(HALVES));
                    for (steps, halves) in steps.chunks_mut(HALVES).zip(chunks) {
                        steps.copy_from_slice(&widened(halves)[..steps.len()]);
                    }
                }
                Format::Q4 => {
                    let chunks = w.scales(row, n.div_ceil(HALVES / 2));
                    let both = steps
                        .chunks_mut(HALVES / 2)
                        .zip(minima.chunks_mut(HALVES / 2));
                    for ((steps, minima), halves) in both.zip(chunks) {
                        let pairs = widened(halves);
                        let pairs = pairs.as_chunks::<2>().0;
                        for ((step, minimum), pair) in steps.iter_mut().zip(minima).zip(pairs) {
                            [*step, *minimum] = *pair;
                        }
                    }
                }
                format => {
                    let [factor, offset] = meaning(format);
                    let step = scale_of(packed);
                    steps.fill(factor * step);
                    minima.fill(offset * step);
                }
            }
        }
    }

    /// Its rows with one token.
    #[inline(always)]
    pub fn dots<S: Simd>(&self, w: &Packed, x: Token<'_>) -> [f32; TILE] {
        let n = w.cols / GROUP;
        if Order::of(w.format) == Order::Plain {
            return self.scaled::<S, true>(n, x);
        }
        let mut dots = self.scaled::<S, false>(n, x);
        for (dot, minima) in dots.iter_mut().zip(rows_of(&self.minima, n)) {
            *dot += crate::formats::dot(minima, &x.sums[..n]);
        }
        dots
    }

    /// The same without minima.
    #[inline(always)]
    fn scaled<S: Simd, const SIGNED: bool>(&self, n: usize, x: Token<'_>) -> [f32; TILE] {
        // By hand, and cut to one length: the compiler keeps four sums in registers and checks no bounds.
        let [w0, w1, w2, w3] = rows_of(&self.groups, n);
        let [s0, s1, s2, s3] = rows_of(&self.steps, n);
        let (groups, scales) = (&x.groups[..n], &x.scales[..n]);
        let (mut t0, mut t1, mut t2, mut t3) = (S::zero(), S::zero(), S::zero(), S::zero());
        for g in 0..n {
            t0 = S::add(
                t0,
                S::dot::<SIGNED>(S::load(&w0[g]), &groups[g]),
                s0[g] * scales[g],
            );
            t1 = S::add(
                t1,
                S::dot::<SIGNED>(S::load(&w1[g]), &groups[g]),
                s1[g] * scales[g],
            );
            t2 = S::add(
                t2,
                S::dot::<SIGNED>(S::load(&w2[g]), &groups[g]),
                s2[g] * scales[g],
            );
            t3 = S::add(
                t3,
                S::dot::<SIGNED>(S::load(&w3[g]), &groups[g]),
                s3[g] * scales[g],
            );
        }
        [S::sum(t0), S::sum(t1), S::sum(t2), S::sum(t3)]
    }
}

/// The rows of `[TILE, n]`, each of a length that the compiler knows to be `n`.
#[inline(always)]
fn rows_of<T>(tile: &[T], n: usize) -> [&[T]; TILE] {
    let (first, second) = tile[..TILE * n].split_at(2 * n);
    let ((a, b), (c, d)) = (first.split_at(n), second.split_at(n));
    [a, b, c, &d[..n]]
}

/// A row's numbers in groups of `BYTES`, before scales.
#[inline(always)]
fn unpack<S: Simd, const BYTES: usize>(s: S, quants: &[u8], out: &mut [Group])
where
    [u8; BYTES]: Quants,
{
    for (q, out) in quants.as_chunks::<BYTES>().0.iter().zip(out) {
        *out = S::store(q.unpack(s));
    }
}
