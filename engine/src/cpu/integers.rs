//! Matrix products in whole numbers: activations become 16-bit integers with a scale for each 32, and packed weights
//! are multiplied as they lie in memory.
//!
//! Sixteen bits and not eight: `pmaddwd` and its like take pairs of words in one instruction, so that an 8-bit kernel
//! would hardly be faster without special instructions, and fifteen bits keep a model's text where floats put it.
//! The plain twin of all this is `Format::dot`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(not(target_arch = "wasm32"))]
mod plain;
#[cfg(target_arch = "wasm32")]
mod wasm;

use super::Packed;
use crate::formats::{Format, GROUP, widen};
use std::ops::Range;

/// Weights or activations that share a scale.
type Group = [i16; GROUP];

/// Rows of the matrix that one pass takes together, so that each `x` is read once for all of them.
const TILE: usize = 4;

/// What an instruction set does with a group.
trait Simd {
    /// Whole numbers that are still to be added up.
    type Sums: Copy;
    /// Floats that are still to be added up.
    type Total: Copy;

    /// Nothing yet.
    fn zero() -> Self::Total;
    /// `Σ q·x` of nibbles 0 ..= 15, the first half of the group in the lower ones.
    fn nibbles(q: &[u8; GROUP / 2], x: &Group) -> Self::Sums;
    /// `Σ q·x` of signed bytes.
    fn bytes(q: &[u8; GROUP], x: &Group) -> Self::Sums;
    /// `Σ ±x`, plus where the bit is set.
    fn signs(q: &[u8; GROUP / 8], x: &Group) -> Self::Sums;
    /// `Σ w·x`
    fn words(w: &Group, x: &Group) -> Self::Sums;
    /// `total + scale · sums`
    fn add(total: Self::Total, sums: Self::Sums, scale: f32) -> Self::Total;
    /// All of it.
    fn sum(total: Self::Total) -> f32;
}

/// The widest instructions that this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// What the compiler makes of loops.
    #[cfg(not(target_arch = "wasm32"))]
    Plain,
    /// 256 bits, on most PCs since 2013.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 128 bits, in every browser since 2023.
    #[cfg(target_arch = "wasm32")]
    Wasm,
}

impl Level {
    /// Asks the machine.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Self::Avx2;
        }
        #[cfg(target_arch = "wasm32")]
        return Self::Wasm;
        #[cfg(not(target_arch = "wasm32"))]
        Self::Plain
    }
}

/// Rows of activations as whole numbers: `x ≈ scale · q` with `|q| ≤ 32767`.
#[derive(Debug, Default)]
pub struct Integers {
    /// `[n, cols / 32]`
    groups: Vec<Group>,
    /// `[n, cols / 32]`
    scales: Vec<f32>,
    /// `Σ x` of each group.
    sums: Vec<f32>,
    /// `[TILE, …]`, what a tile of rows is unpacked to.
    tile: Vec<Group>,
    /// `[TILE, cols / 32]`, the groups' scales.
    steps: Vec<f32>,
    /// `[TILE, cols / 32]`, what is added to each weight of a group.
    minima: Vec<f32>,
    /// A row's halves, widened.
    halves: Vec<f32>,
}

/// Whether a format can be multiplied so.
pub fn takes(format: Format) -> bool {
    matches!(format, Format::Q8 | Format::Q4 | Format::I4 | Format::B1)
}

impl Integers {
    /// Replaces what is held by `x[n, cols]`.
    pub fn hold(&mut self, x: &[f32]) {
        let n_groups = x.len() / GROUP;
        self.groups.resize(n_groups, [0; GROUP]);
        self.scales.resize(n_groups, 0.0);
        self.sums.resize(n_groups, 0.0);
        for (g, x) in x.as_chunks::<GROUP>().0.iter().enumerate() {
            let largest = x.iter().fold(0f32, |m, x| m.max(x.abs()));
            // Nothing but zeros, or too little to be told from them.
            let inverse = if largest > 1e-30 {
                32767.0 / largest
            } else {
                0.0
            };
            let group = &mut self.groups[g];
            for (q, x) in group.iter_mut().zip(x) {
                *q = nearest(x * inverse);
            }
            self.scales[g] = largest / 32767.0;
            let sum: i32 = group.iter().map(|&q| i32::from(q)).sum();
            self.sums[g] = self.scales[g] * sum as f32;
        }
    }

    /// Some rows of `w` times rows of `x` that are held: a place is where a row begins in `x` and its result in `y`.
    pub fn multiply(
        &mut self,
        level: Level,
        w: &Packed,
        rows: Range<usize>,
        places: &[(usize, usize)],
        y: &mut [f32],
    ) {
        match level {
            #[cfg(not(target_arch = "wasm32"))]
            Level::Plain => multiply::<plain::Plain>(self, w, rows, places, y),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::multiply(self, w, rows, places, y),
            #[cfg(target_arch = "wasm32")]
            Level::Wasm => multiply::<wasm::Simd128>(self, w, rows, places, y),
        }
    }

    /// The scales of a tile's rows. Inlined, like all that is done per row, into a function that may use the level's
    /// instructions.
    #[inline(always)]
    fn prepare(&mut self, w: &Packed, rows: [usize; TILE]) {
        let n = w.cols / GROUP;
        self.steps.resize(TILE * n, 0.0);
        self.minima.resize(TILE * n, 0.0);
        for (r, row) in rows.into_iter().enumerate() {
            let scales = w.row(row).scales;
            let halves = scales.as_chunks::<2>().0;
            self.halves.resize(halves.len(), 0.0);
            for (out, half) in self.halves.iter_mut().zip(halves) {
                *out = widen(*half);
            }
            let (steps, minima) = (
                &mut self.steps[r * n..][..n],
                &mut self.minima[r * n..][..n],
            );
            match w.format {
                Format::Q8 => steps.copy_from_slice(&self.halves),
                Format::Q4 => {
                    let pairs = self.halves.as_chunks::<2>().0;
                    for ((step, minimum), pair) in steps.iter_mut().zip(minima).zip(pairs) {
                        [*step, *minimum] = *pair;
                    }
                }
                Format::I4 => {
                    steps.fill(self.halves[0]);
                    minima.fill(-8.0 * self.halves[0]);
                }
                _ => steps.fill(self.halves[0]),
            }
        }
    }
}

/// The nearest whole number, by what a float's lowest bits are when it is large.
fn nearest(x: f32) -> i16 {
    const LARGE: f32 = (3 << 22) as f32;
    (x + LARGE).to_bits() as i16
}

#[inline(always)]
fn multiply<S: Simd>(
    x: &mut Integers,
    w: &Packed,
    rows: Range<usize>,
    places: &[(usize, usize)],
    y: &mut [f32],
) {
    for row0 in rows.clone().step_by(TILE) {
        let tile = std::array::from_fn(|r| (row0 + r).min(rows.end - 1));
        x.prepare(w, tile);
        let at = row0 - rows.start;
        let n_rows = TILE.min(rows.end - row0);
        let mut put = |to: usize, dots: [f32; TILE]| {
            y[to + at..][..n_rows].copy_from_slice(&dots[..n_rows]);
        };
        if let [(from, to)] = places {
            put(*to, packed::<S>(x, w, tile, from / GROUP));
            continue;
        }
        // Unpacked once for all tokens.
        let n = w.cols / GROUP;
        x.tile.resize(TILE * n, [0; GROUP]);
        for (row, words) in tile.into_iter().zip(x.tile.chunks_exact_mut(n)) {
            unpack(w.format, w.row(row).quants, words);
        }
        for (from, to) in places {
            let words = rows_of(&x.tile, n);
            put(
                *to,
                dots::<S, _>(x, w.format, words, from / GROUP, S::words),
            );
        }
    }
}

/// One token: weights are multiplied as they are packed. `first` is the token's first group.
#[inline(always)]
fn packed<S: Simd>(x: &Integers, w: &Packed, rows: [usize; TILE], first: usize) -> [f32; TILE] {
    let quants = rows.map(|row| w.row(row).quants);
    match w.format {
        Format::Q8 => {
            let rows = quants.map(|q| q.as_chunks::<GROUP>().0);
            dots::<S, _>(x, w.format, rows, first, S::bytes)
        }
        Format::B1 => {
            let rows = quants.map(|q| q.as_chunks::<{ GROUP / 8 }>().0);
            dots::<S, _>(x, w.format, rows, first, S::signs)
        }
        _ => {
            let rows = quants.map(|q| q.as_chunks::<{ GROUP / 2 }>().0);
            dots::<S, _>(x, w.format, rows, first, S::nibbles)
        }
    }
}

/// A tile's rows with one token.
#[inline(always)]
fn dots<S: Simd, Q>(
    x: &Integers,
    format: Format,
    [q0, q1, q2, q3]: [&[Q]; TILE],
    first: usize,
    dot: impl Fn(&Q, &Group) -> S::Sums,
) -> [f32; TILE] {
    // By hand, and cut to one length: the compiler keeps four sums in registers and checks no bounds.
    let n = q0.len();
    let (q1, q2, q3) = (&q1[..n], &q2[..n], &q3[..n]);
    let [s0, s1, s2, s3] = rows_of(&x.steps, n);
    let (groups, scales) = (&x.groups[first..][..n], &x.scales[first..][..n]);
    let (mut t0, mut t1, mut t2, mut t3) = (S::zero(), S::zero(), S::zero(), S::zero());
    for g in 0..n {
        t0 = S::add(t0, dot(&q0[g], &groups[g]), s0[g] * scales[g]);
        t1 = S::add(t1, dot(&q1[g], &groups[g]), s1[g] * scales[g]);
        t2 = S::add(t2, dot(&q2[g], &groups[g]), s2[g] * scales[g]);
        t3 = S::add(t3, dot(&q3[g], &groups[g]), s3[g] * scales[g]);
    }
    let mut dots = [S::sum(t0), S::sum(t1), S::sum(t2), S::sum(t3)];
    if matches!(format, Format::Q4 | Format::I4) {
        let sums = &x.sums[first..][..n];
        for (dot, minima) in dots.iter_mut().zip(rows_of(&x.minima, n)) {
            *dot += crate::formats::dot(minima, sums);
        }
    }
    dots
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
fn unpack(format: Format, quants: &[u8], out: &mut [Group]) {
    match format {
        Format::Q8 => {
            for (q, out) in quants.as_chunks::<GROUP>().0.iter().zip(out) {
                *out = q.map(|q| i16::from(q as i8));
            }
        }
        Format::B1 => {
            for (q, out) in quants.as_chunks::<{ GROUP / 8 }>().0.iter().zip(out) {
                for (i, out) in out.iter_mut().enumerate() {
                    *out = i16::from(q[i / 8] >> (i % 8) & 1) * 2 - 1;
                }
            }
        }
        _ => {
            for (q, out) in quants.as_chunks::<{ GROUP / 2 }>().0.iter().zip(out) {
                let (low, high) = out.split_at_mut(GROUP / 2);
                for ((q, low), high) in q.iter().zip(low).zip(high) {
                    *low = i16::from(q & 15);
                    *high = i16::from(q >> 4);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Rows, WeightInfo, group_sums, tests::noise};

    fn weight(format: Format, rows: usize, cols: usize) -> Packed {
        let info = WeightInfo {
            name: "w".into(),
            format,
            rows,
            cols,
        };
        let mut packed = Packed::new(&info).unwrap();
        let n_halves = rows * format.row_scales_bytes(cols) / 2;
        let halves = noise(5, n_halves).into_iter();
        let scales =
            halves.flat_map(|b| half::f16::from_f32(f32::from(b as i8) / 512.0).to_le_bytes());
        packed.write(&Rows {
            row0: 0,
            n_rows: rows,
            quants: noise(9, rows * format.row_quants_bytes(cols)),
            scales: scales.collect(),
        });
        packed
    }

    /// Every format on every instruction set of this machine: one token and many, rows that fill no tile, against
    /// the products of floats.
    #[test]
    fn integers_agree_with_floats() {
        #[cfg(not(target_arch = "wasm32"))]
        let levels = [Level::Plain, Level::detect()];
        #[cfg(target_arch = "wasm32")]
        let levels = [Level::detect()];
        for level in levels {
            for format in [Format::Q8, Format::Q4, Format::I4, Format::B1] {
                for (rows, cols, n) in [(1, 32, 1), (7, 96, 1), (6, 64, 2), (5, 576, 5)] {
                    agree(level, &weight(format, rows + 2, cols), n);
                }
            }
        }
    }

    fn agree(level: Level, w: &Packed, n: usize) {
        let rows = 1..w.rows - 1;
        // Some groups are large, some small, one is nothing.
        let sizes = noise(3, n * w.cols / GROUP);
        let x: Vec<f32> = noise(7, n * w.cols)
            .iter()
            .enumerate()
            .map(|(i, &b)| f32::from(b as i8) * f32::from(sizes[i / GROUP] >> 4) / 100.0)
            .collect();
        let places: Vec<_> = (0..n).map(|i| (i * w.cols, i * rows.len())).collect();
        let mut integers = Integers::default();
        integers.hold(&x);
        let mut y = vec![f32::NAN; n * rows.len()];
        integers.multiply(level, w, rows.clone(), &places, &mut y);
        let (mut error, mut power) = (0.0, 0.0);
        let mut buffer = vec![0.0; w.cols];
        for (x, y) in x.chunks(w.cols).zip(y.chunks(rows.len())) {
            for (row, y) in rows.clone().zip(y) {
                let exact = w.format.dot(w.row(row), x, &group_sums(x), &mut buffer);
                error += f64::from(y - exact).powi(2);
                power += f64::from(exact).powi(2);
            }
        }
        assert!(
            error <= 1e-8 * power,
            "{level:?} {:?} {}x{} {n}: {error:e} of {power:e}",
            w.format,
            w.rows,
            w.cols
        );
    }

    #[test]
    fn nothing_is_nothing() {
        let mut integers = Integers::default();
        integers.hold(&[0.0; 64]);
        assert_eq!((integers.scales[0], integers.sums[1]), (0.0, 0.0));
        assert_eq!(integers.groups[0], [0; GROUP]);
        integers.hold(&[-3.0; 32]);
        assert_eq!(integers.groups, [[-32767; GROUP]]);
        assert!((integers.sums[0] + 96.0).abs() < 1e-4);
    }
}
