//! Many tokens: rows of weights are unpacked once for all of them.

use super::{Group, HALVES, Halves, Order, Packed, Simd, Token, meaning, scale_of};
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
            unpack::<S>(w.format, packed.quants, &mut self.groups[r * n..][..n]);
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
    pub fn dots<S: Simd>(&self, s: S, w: &Packed, x: Token<'_>) -> [f32; TILE] {
        let n = w.cols / GROUP;
        if Order::of(w.format) == Order::Plain {
            return self.scaled::<_, true>(s, n, x);
        }
        let mut dots = self.scaled::<_, false>(s, n, x);
        for (dot, minima) in dots.iter_mut().zip(rows_of(&self.minima, n)) {
            *dot += crate::formats::dot(minima, &x.sums[..n]);
        }
        dots
    }

    /// The same without minima.
    #[inline(always)]
    fn scaled<S: Simd, const SIGNED: bool>(&self, s: S, n: usize, x: Token<'_>) -> [f32; TILE] {
        // By hand, and cut to one length: the compiler keeps four sums in registers and checks no bounds.
        let [w0, w1, w2, w3] = rows_of(&self.groups, n);
        let [s0, s1, s2, s3] = rows_of(&self.steps, n);
        let (groups, scales) = (&x.groups[..n], &x.scales[..n]);
        let (mut t0, mut t1, mut t2, mut t3) = (S::zero(), S::zero(), S::zero(), S::zero());
        for g in 0..n {
            t0 = S::add(
                t0,
                s.unpacked::<SIGNED>(&w0[g], &groups[g]),
                s0[g] * scales[g],
            );
            t1 = S::add(
                t1,
                s.unpacked::<SIGNED>(&w1[g], &groups[g]),
                s1[g] * scales[g],
            );
            t2 = S::add(
                t2,
                s.unpacked::<SIGNED>(&w2[g], &groups[g]),
                s2[g] * scales[g],
            );
            t3 = S::add(
                t3,
                s.unpacked::<SIGNED>(&w3[g], &groups[g]),
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

/// A row's numbers, before scales.
#[inline(always)]
fn unpack<S: Simd>(format: Format, quants: &[u8], out: &mut [Group]) {
    match format {
        Format::Q8 => {
            for (q, out) in quants.as_chunks::<GROUP>().0.iter().zip(out) {
                *out = S::weights(Order::Plain, |i| i16::from(q[i] as i8));
            }
        }
        Format::B1 => {
            for (q, out) in quants.as_chunks::<{ GROUP / 8 }>().0.iter().zip(out) {
                *out = S::weights(Order::Bits, |i| i16::from(q[i / 8] >> (i % 8) & 1));
            }
        }
        _ => {
            for (q, out) in quants.as_chunks::<{ GROUP / 2 }>().0.iter().zip(out) {
                *out = S::weights(Order::Nibbles, |i| {
                    let byte = q[i % (GROUP / 2)];
                    i16::from(if i < GROUP / 2 { byte & 15 } else { byte >> 4 })
                });
            }
        }
    }
}
