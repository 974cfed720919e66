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
use crate::formats::{Format, GROUP, Row, widen};
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
    /// Eight floats.
    type Scales: Copy;
    /// The order in which [`Simd::nibbles`] takes a group's numbers.
    const NIBBLES: [usize; GROUP] = in_order();

    /// Nothing yet.
    fn zero() -> Self::Total;
    /// `Σ q·x` of nibbles 0 ..= 15, the first half of the group in the lower ones; `x` in the order of
    /// [`Simd::NIBBLES`].
    fn nibbles(q: &[u8; GROUP / 2], x: &Group) -> Self::Sums;
    /// `Σ q·x` of signed bytes.
    fn bytes(q: &[u8; GROUP], x: &Group) -> Self::Sums;
    /// `Σ ±x`, plus where the bit is set.
    fn signs(q: &[u8; GROUP / 8], x: &Group) -> Self::Sums;
    /// `Σ w·x`
    fn words(w: &Group, x: &Group) -> Self::Sums;
    /// `total + scale · sums`
    fn add(total: Self::Total, sums: Self::Sums, scale: f32) -> Self::Total;
    /// The same by one of eight scales.
    fn add_by<const LANE: usize>(
        total: Self::Total,
        sums: Self::Sums,
        scales: Self::Scales,
    ) -> Self::Total;
    /// All of it.
    fn sum(total: Self::Total) -> f32;

    /// Finite f16 numbers, each times its `x`.
    fn scales(halves: &Halves, x: &[f32; HALVES]) -> Self::Scales;
    /// `a + b`
    fn both(a: Self::Scales, b: Self::Scales) -> Self::Scales;
    /// One by one.
    fn lanes(scales: Self::Scales) -> [f32; HALVES];

    /// Has memory fetch what lies some rows behind these 64 bytes, where that can be asked for.
    fn fetch_ahead(_bytes: &[u8; 64]) {}
}

const fn in_order() -> [usize; GROUP] {
    let mut order = [0; GROUP];
    let mut i = 0;
    while i < GROUP {
        order[i] = i;
        i += 1;
    }
    order
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

    /// Runs what is written in plain loops, which the compiler may turn into the level's instructions.
    #[inline(always)]
    pub fn run<T>(self, work: impl FnOnce() -> T) -> T {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::run(work),
            _ => work(),
        }
    }
}

/// Rows of activations as whole numbers: `x ≈ scale · q` with `|q| ≤ 32767`.
#[derive(Debug, Default)]
pub struct Integers {
    held: Held,
    /// Rows of weights, unpacked for many tokens.
    tile: Tile,
}

/// What is known of each group of the activations, `[n, stride]`.
#[derive(Debug, Default)]
struct Held {
    /// Groups of a row, and empty ones up to a multiple of [`HALVES`].
    stride: usize,
    groups: Vec<Group>,
    scales: Vec<f32>,
    /// `Σ x`
    sums: Vec<f32>,
    /// A group's scale and its sum, beside one another as [`Format::Q4`] has `d` and `m`.
    pairs: Vec<[f32; 2]>,
}

/// One row of [`Held`], `[stride]`.
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
}

/// Whether a format can be multiplied so.
pub fn takes(format: Format) -> bool {
    matches!(format, Format::Q8 | Format::Q4 | Format::I4 | Format::B1)
}

impl Integers {
    /// Replaces what is held by `x[n, cols]`, to be multiplied with rows of a weight of this format.
    pub fn hold(&mut self, level: Level, format: Format, x: &[f32], cols: usize) {
        match level {
            #[cfg(not(target_arch = "wasm32"))]
            Level::Plain => self.held.fill::<plain::Plain>(format, x, cols),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::hold(&mut self.held, format, x, cols),
            #[cfg(target_arch = "wasm32")]
            Level::Wasm => self.held.fill::<wasm::Simd128>(format, x, cols),
        }
    }

    /// Some rows of `w` times rows of `x` that are held: a place is which row of `x`, and where its result begins in
    /// `y`.
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
    #[inline(always)]
    fn fill<S: Simd>(&mut self, format: Format, x: &[f32], cols: usize) {
        let n_groups = cols / GROUP;
        self.stride = n_groups.next_multiple_of(HALVES);
        let n = x.len() / cols * self.stride;
        self.groups.resize(n, [0; GROUP]);
        self.scales.resize(n, 0.0);
        self.sums.resize(n, 0.0);
        self.pairs.resize(n, [0.0; 2]);
        let by_nibbles = is_of_nibbles(format);
        for (row, x) in x.chunks_exact(cols).enumerate() {
            let first = row * self.stride;
            for (g, x) in (first..).zip(x.as_chunks::<GROUP>().0) {
                let largest = x.iter().fold(0f32, |m, x| m.max(x.abs()));
                // Nothing but zeros, or too little to be told from them.
                let inverse = if largest > 1e-30 {
                    32767.0 / largest
                } else {
                    0.0
                };
                let group = x.map(|x| nearest(x * inverse));
                let scale = largest / 32767.0;
                let sum: i32 = group.iter().map(|&q| i32::from(q)).sum();
                let sum = scale * sum as f32;
                self.groups[g] = if by_nibbles {
                    S::NIBBLES.map(|i| group[i])
                } else {
                    group
                };
                self.scales[g] = scale;
                self.sums[g] = sum;
                self.pairs[g] = [scale, sum];
            }
            // Rows of weights are read beyond their ends: by nothing.
            let rest = first + n_groups..first + self.stride;
            self.scales[rest.clone()].fill(0.0);
            self.sums[rest.clone()].fill(0.0);
            self.pairs[rest].fill([0.0; 2]);
        }
    }

    fn token(&self, row: usize) -> Token<'_> {
        let first = row * self.stride;
        Token {
            groups: &self.groups[first..][..self.stride],
            scales: &self.scales[first..][..self.stride],
            sums: &self.sums[first..][..self.stride],
            pairs: &self.pairs[first..][..self.stride],
        }
    }
}

/// Whether it holds two numbers in a byte.
fn is_of_nibbles(format: Format) -> bool {
    matches!(format, Format::Q4 | Format::I4)
}

/// The nearest whole number, by what a float's lowest bits are when it is large.
#[inline(always)]
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
    if let [(from, to)] = places {
        let x = x.held.token(*from);
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
            let dots = tile.dots::<S>(w, held.token(*from));
            y[to + at..][..n_rows].copy_from_slice(&dots[..n_rows]);
        }
    }
}

/// One token and rows with `d` and `m` for each group.
#[inline(always)]
fn by_pairs<S: Simd>(w: &Packed, rows: Range<usize>, x: Token<'_>, y: &mut [f32]) {
    const PAIRS: usize = HALVES / 2;
    let groups = x.groups.as_chunks::<PAIRS>().0;
    let pairs = x.pairs.as_flattened().as_chunks::<HALVES>().0;
    for (row, y) in rows.zip(y) {
        let quants = w.row(row).quants.as_chunks::<{ GROUP / 2 }>().0;
        let (quants, last_quants) = quants.as_chunks::<PAIRS>();
        let scales = w.scales(row, quants.len() + 1);
        let mut total = S::zero();
        // Every other one is the sum of `m · Σ x`.
        let mut sums = S::scales(&[0; 2 * HALVES], &[0.0; HALVES]);
        for (((q, halves), x), pairs) in quants.iter().zip(scales).zip(groups).zip(pairs) {
            S::fetch_ahead(q.as_flattened().first_chunk().expect("64 bytes"));
            let scales = S::scales(halves, pairs);
            sums = S::both(sums, scales);
            total = S::add_by::<0>(total, S::nibbles(&q[0], &x[0]), scales);
            total = S::add_by::<2>(total, S::nibbles(&q[1], &x[1]), scales);
            total = S::add_by::<4>(total, S::nibbles(&q[2], &x[2]), scales);
            total = S::add_by::<6>(total, S::nibbles(&q[3], &x[3]), scales);
        }
        if !last_quants.is_empty() {
            let i = quants.len();
            let scales = S::scales(&scales[i], &pairs[i]);
            sums = S::both(sums, scales);
            let scales = S::lanes(scales);
            for ((q, x), scale) in last_quants
                .iter()
                .zip(&groups[i])
                .zip(scales.iter().step_by(2))
            {
                total = S::add(total, S::nibbles(q, x), *scale);
            }
        }
        let [_, a, _, b, _, c, _, d] = S::lanes(sums);
        *y = S::sum(total) + (a + b) + (c + d);
    }
}

/// One token and rows with `d` for each group.
#[inline(always)]
fn by_groups<S: Simd>(w: &Packed, rows: Range<usize>, x: Token<'_>, y: &mut [f32]) {
    let groups = x.groups.as_chunks::<HALVES>().0;
    let steps = x.scales.as_chunks::<HALVES>().0;
    for (row, y) in rows.zip(y) {
        let quants = w.row(row).quants.as_chunks::<GROUP>().0;
        let (quants, last_quants) = quants.as_chunks::<HALVES>();
        let scales = w.scales(row, quants.len() + 1);
        let mut total = S::zero();
        for (((q, halves), x), steps) in quants.iter().zip(scales).zip(groups).zip(steps) {
            for bytes in q.as_flattened().as_chunks().0 {
                S::fetch_ahead(bytes);
            }
            let scales = S::scales(halves, steps);
            total = S::add_by::<0>(total, S::bytes(&q[0], &x[0]), scales);
            total = S::add_by::<1>(total, S::bytes(&q[1], &x[1]), scales);
            total = S::add_by::<2>(total, S::bytes(&q[2], &x[2]), scales);
            total = S::add_by::<3>(total, S::bytes(&q[3], &x[3]), scales);
            total = S::add_by::<4>(total, S::bytes(&q[4], &x[4]), scales);
            total = S::add_by::<5>(total, S::bytes(&q[5], &x[5]), scales);
            total = S::add_by::<6>(total, S::bytes(&q[6], &x[6]), scales);
            total = S::add_by::<7>(total, S::bytes(&q[7], &x[7]), scales);
        }
        if !last_quants.is_empty() {
            let i = quants.len();
            let scales = S::lanes(S::scales(&scales[i], &steps[i]));
            for ((q, x), scale) in last_quants.iter().zip(&groups[i]).zip(scales) {
                total = S::add(total, S::bytes(q, x), scale);
            }
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
        *y = scale_of(row) * (S::sum(total) + offset);
    }
}

/// The one `d` of a row.
fn scale_of(row: Row<'_>) -> f32 {
    widen([row.scales[0], row.scales[1]])
}

impl Tile {
    #[inline(always)]
    fn unpack<S: Simd>(&mut self, w: &Packed, rows: [usize; TILE]) {
        let n = w.cols / GROUP;
        self.groups.resize(TILE * n, [0; GROUP]);
        self.steps.resize(TILE * n, 0.0);
        self.minima.resize(TILE * n, 0.0);
        for (r, row) in rows.into_iter().enumerate() {
            let packed = w.row(row);
            unpack::<S>(w.format, packed.quants, &mut self.groups[r * n..][..n]);
            let steps = &mut self.steps[r * n..][..n];
            let minima = &mut self.minima[r * n..][..n];
            let widened = |halves: &Halves| S::lanes(S::scales(halves, &[1.0; HALVES]));
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
                _ => {
                    let step = scale_of(packed);
                    steps.fill(step);
                    minima.fill(-8.0 * step);
                }
            }
        }
    }

    /// Its rows with one token.
    #[inline(always)]
    fn dots<S: Simd>(&self, w: &Packed, x: Token<'_>) -> [f32; TILE] {
        // By hand, and cut to one length: the compiler keeps four sums in registers and checks no bounds.
        let n = w.cols / GROUP;
        let [w0, w1, w2, w3] = rows_of(&self.groups, n);
        let [s0, s1, s2, s3] = rows_of(&self.steps, n);
        let (groups, scales) = (&x.groups[..n], &x.scales[..n]);
        let (mut t0, mut t1, mut t2, mut t3) = (S::zero(), S::zero(), S::zero(), S::zero());
        for g in 0..n {
            t0 = S::add(t0, S::words(&w0[g], &groups[g]), s0[g] * scales[g]);
            t1 = S::add(t1, S::words(&w1[g], &groups[g]), s1[g] * scales[g]);
            t2 = S::add(t2, S::words(&w2[g], &groups[g]), s2[g] * scales[g]);
            t3 = S::add(t3, S::words(&w3[g], &groups[g]), s3[g] * scales[g]);
        }
        let mut dots = [S::sum(t0), S::sum(t1), S::sum(t2), S::sum(t3)];
        if is_of_nibbles(w.format) {
            for (dot, minima) in dots.iter_mut().zip(rows_of(&self.minima, n)) {
                *dot += crate::formats::dot(minima, &x.sums[..n]);
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
fn unpack<S: Simd>(format: Format, quants: &[u8], out: &mut [Group]) {
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
                *out = S::NIBBLES.map(|i| {
                    let byte = q[i % (GROUP / 2)];
                    i16::from(if i < GROUP / 2 { byte & 15 } else { byte >> 4 })
                });
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
        let places: Vec<_> = (0..n).map(|i| (i, i * rows.len())).collect();
        let mut integers = Integers::default();
        // What was held before is nothing to the next product.
        integers.hold(level, w.format, &[1e9; 2048], 2048);
        integers.hold(level, w.format, &x, w.cols);
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
        let mut hold = |x: &[f32]| {
            integers.hold(Level::detect(), Format::Q8, x, x.len());
            (integers.held.groups[0], integers.held.pairs[0])
        };
        assert_eq!(hold(&[0.0; 64]), ([0; GROUP], [0.0; 2]));
        let (group, [_, sum]) = hold(&[-3.0; 32]);
        assert_eq!(group, [-32767; GROUP]);
        assert!((sum + 96.0).abs() < 1e-4);
    }
}
