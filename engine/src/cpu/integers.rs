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
use crate::formats::{Format, GROUP};
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
    /// Finite f16 numbers.
    fn widen(halves: &Halves) -> [f32; HALVES];
    /// Has memory fetch what lies some rows behind these 64 bytes, where that can be asked for.
    fn fetch_ahead(_bytes: &[u8; 64]) {}
}

/// As many scales as are widened at once.
const HALVES: usize = 8;
type Halves = [u8; 2 * HALVES];

/// A group's numbers as they are packed, or unpacked.
trait Quants {
    fn dot<S: Simd>(&self, x: &Group) -> S::Sums;
}

macro_rules! quants {
    ($($bytes:ty: $method:ident),*) => {$(
        impl Quants for $bytes {
            #[inline(always)]
            fn dot<S: Simd>(&self, x: &Group) -> S::Sums {
                S::$method(self, x)
            }
        }
    )*};
}

// A trait and not a function's argument: what is called through one is not inlined where the level's instructions are.
quants!([u8; GROUP / 2]: nibbles, [u8; GROUP]: bytes, [u8; GROUP / 8]: signs, Group: words);

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
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
        {
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
    held: Held,
    /// Rows of weights, unpacked for many tokens.
    tile: Tile,
}

/// What is known of each group of the activations, `[n, cols / 32]`.
#[derive(Debug, Default)]
struct Held {
    groups: Vec<Group>,
    scales: Vec<f32>,
    /// `Σ x`
    sums: Vec<f32>,
    /// A group's scale and its sum, beside one another as [`Format::Q4`] has `d` and `m`.
    pairs: Vec<[f32; 2]>,
}

/// One row of [`Held`], `[cols / 32]`.
#[derive(Clone, Copy)]
struct Token<'h> {
    groups: &'h [Group],
    scales: &'h [f32],
    sums: &'h [f32],
    pairs: &'h [[f32; 2]],
}

/// `[TILE, cols / 32]` groups of weights.
#[derive(Debug, Default)]
struct Tile {
    groups: Vec<Group>,
    /// The groups' scales.
    steps: Vec<f32>,
    /// What is added to each weight of a group.
    minima: Vec<f32>,
    /// A row's scales, widened.
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
        let held = &mut self.held;
        held.groups.resize(n_groups, [0; GROUP]);
        held.scales.resize(n_groups, 0.0);
        held.sums.resize(n_groups, 0.0);
        held.pairs.resize(n_groups, [0.0; 2]);
        for (g, x) in x.as_chunks::<GROUP>().0.iter().enumerate() {
            let largest = x.iter().fold(0f32, |m, x| m.max(x.abs()));
            // Nothing but zeros, or too little to be told from them.
            let inverse = if largest > 1e-30 {
                32767.0 / largest
            } else {
                0.0
            };
            let group = &mut held.groups[g];
            for (q, x) in group.iter_mut().zip(x) {
                *q = nearest(x * inverse);
            }
            let scale = largest / 32767.0;
            let sum: i32 = group.iter().map(|&q| i32::from(q)).sum();
            let sum = scale * sum as f32;
            held.scales[g] = scale;
            held.sums[g] = sum;
            held.pairs[g] = [scale, sum];
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
}

impl Held {
    /// The token whose first group this is.
    fn token(&self, first: usize, n_groups: usize) -> Token<'_> {
        Token {
            groups: &self.groups[first..][..n_groups],
            scales: &self.scales[first..][..n_groups],
            sums: &self.sums[first..][..n_groups],
            pairs: &self.pairs[first..][..n_groups],
        }
    }
}

/// The nearest whole number, by what a float's lowest bits are when it is large.
fn nearest(x: f32) -> i16 {
    const LARGE: f32 = (3 << 22) as f32;
    (x + LARGE).to_bits() as i16
}

// All that is done per row is inlined into a function that may use the level's instructions.

#[inline(always)]
fn multiply<S: Simd>(
    x: &mut Integers,
    w: &Packed,
    rows: Range<usize>,
    places: &[(usize, usize)],
    y: &mut [f32],
) {
    let n_groups = w.cols / GROUP;
    if let [(from, to)] = places {
        let x = x.held.token(from / GROUP, n_groups);
        let y = &mut y[*to..][..rows.len()];
        return match w.format {
            Format::Q4 => by_pairs::<S>(w, rows, x, y),
            Format::Q8 => by_groups::<S>(w, rows, x, y),
            Format::I4 => by_rows::<S, { GROUP / 2 }>(w, rows, x, -8.0, y),
            _ => by_rows::<S, { GROUP / 8 }>(w, rows, x, 0.0, y),
        };
    }
    let (held, tile) = (&x.held, &mut x.tile);
    for row0 in rows.clone().step_by(TILE) {
        // Unpacked once for all tokens.
        tile.unpack::<S>(w, std::array::from_fn(|r| (row0 + r).min(rows.end - 1)));
        let at = row0 - rows.start;
        let n_rows = TILE.min(rows.end - row0);
        for (from, to) in places {
            let dots = tile.dots::<S>(w.format, held.token(from / GROUP, n_groups));
            y[to + at..][..n_rows].copy_from_slice(&dots[..n_rows]);
        }
    }
}

/// One token and rows with `d` and `m` for each group.
#[inline(always)]
fn by_pairs<S: Simd>(w: &Packed, rows: Range<usize>, x: Token<'_>, y: &mut [f32]) {
    const PAIRS: usize = HALVES / 2;
    let (groups, last_groups) = x.groups.as_chunks::<PAIRS>();
    let (pairs, last_pairs) = x.pairs.as_chunks::<PAIRS>();
    for (row, y) in rows.zip(y) {
        let row = w.row(row);
        let (quants, last_quants) = row
            .quants
            .as_chunks::<{ GROUP / 2 }>()
            .0
            .as_chunks::<PAIRS>();
        let (scales, last_scales) = row.scales.as_chunks::<{ 2 * HALVES }>();
        let mut total = S::zero();
        // Every other one is the sum of `m · Σ x`.
        let mut sums = [0.0; HALVES];
        for (((q, scales), x), pairs) in quants.iter().zip(scales).zip(groups).zip(pairs) {
            S::fetch_ahead(q.as_flattened().first_chunk().expect("64 bytes"));
            let mut factors = S::widen(scales);
            for (i, pair) in pairs.iter().enumerate() {
                factors[2 * i] *= pair[0];
                factors[2 * i + 1] *= pair[1];
            }
            for i in 0..PAIRS {
                total = S::add(total, S::nibbles(&q[i], &x[i]), factors[2 * i]);
            }
            for (sum, factor) in sums.iter_mut().zip(factors) {
                *sum += factor;
            }
        }
        let factors = S::widen(&padded(last_scales));
        for (i, ((q, x), pair)) in last_quants
            .iter()
            .zip(last_groups)
            .zip(last_pairs)
            .enumerate()
        {
            total = S::add(total, S::nibbles(q, x), factors[2 * i] * pair[0]);
            sums[1] += factors[2 * i + 1] * pair[1];
        }
        *y = S::sum(total) + sums[1] + sums[3] + sums[5] + sums[7];
    }
}

/// One token and rows with `d` for each group.
#[inline(always)]
fn by_groups<S: Simd>(w: &Packed, rows: Range<usize>, x: Token<'_>, y: &mut [f32]) {
    let (groups, last_groups) = x.groups.as_chunks::<HALVES>();
    let (steps, last_steps) = x.scales.as_chunks::<HALVES>();
    for (row, y) in rows.zip(y) {
        let row = w.row(row);
        let (quants, last_quants) = row.quants.as_chunks::<GROUP>().0.as_chunks::<HALVES>();
        let (scales, last_scales) = row.scales.as_chunks::<{ 2 * HALVES }>();
        let mut total = S::zero();
        for (((q, scales), x), steps) in quants.iter().zip(scales).zip(groups).zip(steps) {
            for bytes in q.as_flattened().as_chunks().0 {
                S::fetch_ahead(bytes);
            }
            let mut factors = S::widen(scales);
            for (factor, step) in factors.iter_mut().zip(steps) {
                *factor *= step;
            }
            for i in 0..HALVES {
                total = S::add(total, S::bytes(&q[i], &x[i]), factors[i]);
            }
        }
        let factors = S::widen(&padded(last_scales));
        let last = last_quants.iter().zip(last_groups).zip(last_steps);
        for (((q, x), step), factor) in last.zip(factors) {
            total = S::add(total, S::bytes(q, x), factor * step);
        }
        *y = S::sum(total);
    }
}

/// One token and rows that have one `d`, of groups of `BYTES`; `offset` is added to each of their numbers.
#[inline(always)]
fn by_rows<S: Simd, const BYTES: usize>(
    w: &Packed,
    rows: Range<usize>,
    x: Token<'_>,
    offset: f32,
    y: &mut [f32],
) where
    [u8; BYTES]: Quants,
{
    let offset = offset * x.sums.iter().sum::<f32>();
    for (row, y) in rows.zip(y) {
        let row = w.row(row);
        let mut total = S::zero();
        let quants = row.quants.as_chunks::<BYTES>().0;
        for ((q, x), step) in quants.iter().zip(x.groups).zip(x.scales) {
            total = S::add(total, q.dot::<S>(x), *step);
        }
        *y = S::widen(&padded(row.scales))[0] * (S::sum(total) + offset);
    }
}

/// Followed by zeros.
#[inline(always)]
fn padded(scales: &[u8]) -> Halves {
    let mut halves = [0; 2 * HALVES];
    halves[..scales.len()].copy_from_slice(scales);
    halves
}

impl Tile {
    #[inline(always)]
    fn unpack<S: Simd>(&mut self, w: &Packed, rows: [usize; TILE]) {
        let n = w.cols / GROUP;
        self.groups.resize(TILE * n, [0; GROUP]);
        self.steps.resize(TILE * n, 0.0);
        self.minima.resize(TILE * n, 0.0);
        for (r, row) in rows.into_iter().enumerate() {
            let row = w.row(row);
            unpack(w.format, row.quants, &mut self.groups[r * n..][..n]);
            let (halves, rest) = row.scales.as_chunks::<{ 2 * HALVES }>();
            self.halves.clear();
            self.halves.extend(halves.iter().flat_map(S::widen));
            self.halves.extend(S::widen(&padded(rest)));
            let steps = &mut self.steps[r * n..][..n];
            let minima = &mut self.minima[r * n..][..n];
            match w.format {
                Format::Q8 => steps.copy_from_slice(&self.halves[..n]),
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

    /// Its rows with one token.
    #[inline(always)]
    fn dots<S: Simd>(&self, format: Format, x: Token<'_>) -> [f32; TILE] {
        // By hand, and cut to one length: the compiler keeps four sums in registers and checks no bounds.
        let n = x.groups.len();
        let [w0, w1, w2, w3] = rows_of(&self.groups, n);
        let [s0, s1, s2, s3] = rows_of(&self.steps, n);
        let (groups, scales) = (x.groups, &x.scales[..n]);
        let (mut t0, mut t1, mut t2, mut t3) = (S::zero(), S::zero(), S::zero(), S::zero());
        for g in 0..n {
            t0 = S::add(t0, S::words(&w0[g], &groups[g]), s0[g] * scales[g]);
            t1 = S::add(t1, S::words(&w1[g], &groups[g]), s1[g] * scales[g]);
            t2 = S::add(t2, S::words(&w2[g], &groups[g]), s2[g] * scales[g]);
            t3 = S::add(t3, S::words(&w3[g], &groups[g]), s3[g] * scales[g]);
        }
        let mut dots = [S::sum(t0), S::sum(t1), S::sum(t2), S::sum(t3)];
        if matches!(format, Format::Q4 | Format::I4) {
            for (dot, minima) in dots.iter_mut().zip(rows_of(&self.minima, n)) {
                *dot += crate::formats::dot(minima, x.sums);
            }
        }
        dots
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
        assert_eq!(integers.held.pairs, [[0.0; 2]; 2]);
        assert_eq!(integers.held.groups, [[0; GROUP]; 2]);
        integers.hold(&[-3.0; 32]);
        assert_eq!(integers.held.groups, [[-32767; GROUP]]);
        assert!((integers.held.sums[0] + 96.0).abs() < 1e-4);
    }
}
