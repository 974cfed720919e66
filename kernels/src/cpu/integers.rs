//! Matrix products in whole numbers: activations become 16-bit integers with a scale for each 32, and packed weights
//! are multiplied as they lie in memory.
//!
//! Sixteen bits and not eight: `pmaddwd` and its like take pairs of words in one instruction, so that an 8-bit kernel
//! would hardly be faster without special instructions, and fifteen bits keep a model's text where floats put it. Where
//! an instruction multiplies sixteen bytes (`bytes.rs`), a word is two of them: the same sums, so the same text.
//! The plain twin of all this is `Format::dot`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(any(
    target_arch = "aarch64",
    all(target_arch = "wasm32", feature = "relaxed-simd")
))]
mod bytes;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(not(target_arch = "wasm32"))]
mod plain;
#[cfg(target_arch = "wasm32")]
mod wasm;

mod level;
mod one;
mod simd;
mod tile;

pub use level::{Level, Work};

use super::packed::Packed;
use crate::formats::{Format, GROUP, LANES, Row, widen};
use one::{by_groups, by_pairs, by_rows};
pub use simd::{HALVES, Pair, Pairs, Simd};
use simd::{Halves, Quants};
use std::ops::Range;
use tile::{TILE, Tile};

/// Of an activation: it is `256 · a + b` of two signed bytes.
const LARGEST: i16 = 127 * 256 + 127;

/// Pairs that one turn of a loop takes. Browsers load all of a turn's numbers first, and of more run out of registers.
pub const TURN: usize = if cfg!(target_arch = "wasm32") { 1 } else { 2 };

/// Weights or activations that share a scale.
type Group = [i16; GROUP];

/// Rows of activations as whole numbers: `x ≈ scale · q` with `|q| ≤ LARGEST`.
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

/// Whether a format can be multiplied so.
pub fn takes(format: Format) -> bool {
    matches!(format, Format::Q8 | Format::Q4 | Format::I4 | Format::B1)
}

/// The order in which a group of activations lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As it came.
    Plain,
    /// As an instruction set takes nibbles out of their bytes.
    Nibbles,
    /// As it takes bits out of theirs.
    Bits,
}

impl Order {
    /// For products with rows of such a format.
    pub fn of(format: Format) -> Self {
        match format {
            // Two numbers in a byte.
            Format::Q4 | Format::I4 => Self::Nibbles,
            Format::B1 => Self::Bits,
            _ => Self::Plain,
        }
    }
}

impl Integers {
    /// Replaces what is held by `x[n, cols]`, to be multiplied with rows of weights that want this order.
    pub fn hold(&mut self, level: Level, order: Order, x: &[f32], cols: usize) {
        match level {
            #[cfg(not(target_arch = "wasm32"))]
            Level::Plain => self.held.fill::<plain::Plain>(order, x, cols),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::hold(&mut self.held, order, x, cols),
            #[cfg(target_arch = "aarch64")]
            Level::Neon | Level::Sdot => self.held.fill::<neon::Neon<false>>(order, x, cols),
            #[cfg(target_arch = "wasm32")]
            Level::Wasm => self.held.fill::<wasm::Words>(order, x, cols),
            #[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
            Level::Relaxed => wasm::relaxed::hold(&mut self.held, order, x, cols),
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
            #[cfg(target_arch = "aarch64")]
            Level::Neon => multiply::<neon::Neon<false>>(self, w, rows, places, y),
            #[cfg(target_arch = "aarch64")]
            Level::Sdot => neon::multiply(self, w, rows, places, y),
            #[cfg(target_arch = "wasm32")]
            Level::Wasm => multiply::<wasm::Words>(self, w, rows, places, y),
            #[cfg(all(target_arch = "wasm32", feature = "relaxed-simd"))]
            Level::Relaxed => wasm::relaxed::multiply(self, w, rows, places, y),
        }
    }
}

impl Held {
    #[inline(always)]
    fn fill<S: Simd>(&mut self, order: Order, x: &[f32], cols: usize) {
        let n_groups = cols / GROUP;
        self.stride = n_groups.next_multiple_of(HALVES);
        let n = x.len() / cols * self.stride;
        self.groups.resize(n, [0; GROUP]);
        self.scales.resize(n, 0.0);
        self.sums.resize(n, 0.0);
        self.pairs.resize(n, [0.0; 2]);
        for (row, x) in x.chunks_exact(cols).enumerate() {
            let first = row * self.stride;
            for (g, x) in (first..).zip(x.as_chunks::<GROUP>().0) {
                let mut group = [0; GROUP];
                let scale = quantise(x, LARGEST, &mut group);
                let sum: i32 = group.iter().map(|&q| i32::from(q)).sum();
                let sum = scale * sum as f32;
                self.groups[g] = S::activations(order, group);
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

/// Of whose lowest bits are the nearest whole number, negative ones too.
#[inline(always)]
fn rounded(x: f32) -> u32 {
    const LARGE: f32 = (3 << 22) as f32;
    (x + LARGE).to_bits()
}

/// The largest of `of(x)`, or `least`. Lane by lane and without `max`, which looks at NaN first: so it becomes SIMD.
#[inline(always)]
pub fn largest(x: &[f32], least: f32, of: impl Fn(f32) -> f32) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (whole, rest) = x.as_chunks::<LANES>();
    let mut lanes = [least; LANES];
    for x in whole {
        for (lane, x) in lanes.iter_mut().zip(x) {
            *lane = larger(*lane, of(*x));
        }
    }
    let rest = rest.iter().map(|x| of(*x));
    lanes.into_iter().chain(rest).fold(least, larger)
}

/// `x` as whole numbers up to `most`, and what one of them means.
#[inline(always)]
pub fn quantise(x: &[f32], most: i16, q: &mut [i16]) -> f32 {
    let largest = largest(x, 0.0, f32::abs);
    let most = f32::from(most);
    // Nothing but zeros, or too little to be told from them.
    let inverse = if largest > 1e-30 { most / largest } else { 0.0 };
    round(x, inverse, q);
    largest / most
}

/// Of magnitudes that are to be whole numbers, lane by lane: the largest, and their sum.
#[derive(Default)]
pub struct Magnitudes {
    largest: [f32; LANES],
    sums: [f32; LANES],
}

impl Magnitudes {
    /// And these.
    #[inline(always)]
    pub fn take(&mut self, x: [f32; LANES]) {
        let larger = |a: f32, b: f32| if b > a { b } else { a };
        self.largest = std::array::from_fn(|i| larger(self.largest[i], x[i]));
        self.sums = std::array::from_fn(|i| self.sums[i] + x[i]);
    }

    /// What one is to mean, so that each is a word and they add up to `most`, and half a one for each, or less.
    #[inline(always)]
    pub fn step(&self, most: f32) -> f32 {
        let largest = largest(&self.largest, 0.0, |x| x);
        let sum: f32 = self.sums.iter().sum();
        // Not nothing, by which others are divided.
        (sum / most).max(largest / f32::from(i16::MAX)).max(1e-35)
    }
}

/// `factor · x` as whole numbers. Eight at a time, as browsers narrow them.
#[inline(always)]
pub fn round(x: &[f32], factor: f32, q: &mut [i16]) {
    let round = |x: f32| rounded(factor * x) as i16;
    let (whole, rest) = x.as_chunks::<LANES>();
    let (whole_q, rest_q) = q.as_chunks_mut::<LANES>();
    for (q, x) in whole_q.iter_mut().zip(whole) {
        *q = x.map(round);
    }
    for (q, x) in rest_q.iter_mut().zip(rest) {
        *q = round(*x);
    }
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
    let s = S::new();
    if let [(from, to)] = places {
        let x = x.held.token(*from);
        let y = &mut y[*to..][..rows.len()];
        return match w.format {
            Format::Q4 => by_pairs(s, w, rows, x, y),
            Format::Q8 => by_groups(s, w, rows, x, y),
            Format::I4 => by_rows::<_, { GROUP / 2 }>(s, w, rows, x, meaning(w.format), y),
            _ => by_rows::<_, { GROUP / 8 }>(s, w, rows, x, meaning(w.format), y),
        };
    }
    let (held, tile) = (&x.held, &mut x.tile);
    for row0 in rows.clone().step_by(TILE) {
        // Unpacked once for all tokens.
        tile.unpack(s, w, std::array::from_fn(|r| (row0 + r).min(rows.end - 1)));
        let at = row0 - rows.start;
        let n_rows = TILE.min(rows.end - row0);
        for (from, to) in places {
            let dots = tile.dots::<S>(w, held.token(*from));
            y[to + at..][..n_rows].copy_from_slice(&dots[..n_rows]);
        }
    }
}

/// Factor and offset of what is packed in rows with one `d`: nibbles from 0 on mean numbers from -8 on, a bit means ±1.
fn meaning(format: Format) -> [f32; 2] {
    match format {
        Format::B1 => [2.0, -1.0],
        _ => [1.0, -8.0],
    }
}

/// The one `d` of a row.
fn scale_of(row: Row<'_>) -> f32 {
    widen([row.scales[0], row.scales[1]])
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
    /// the products of floats. In browsers all give the same bits.
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    fn integers_agree_with_floats() {
        let levels = [
            #[cfg(not(target_arch = "wasm32"))]
            Level::Plain,
            #[cfg(target_arch = "aarch64")]
            Level::Neon,
            #[cfg(target_arch = "wasm32")]
            Level::Wasm,
            Level::detect(),
        ];
        for format in [Format::Q8, Format::Q4, Format::I4, Format::B1] {
            for (rows, cols, n) in [(1, 32, 1), (7, 96, 1), (6, 64, 2), (5, 576, 5)] {
                let w = weight(format, rows + 2, cols);
                let products = levels.map(|level| agree(level, &w, n));
                if cfg!(target_arch = "wasm32") {
                    assert_eq!(products[0], products[1], "{format:?} {rows}x{cols} {n}");
                }
            }
        }
    }

    /// The products, which are those of floats but for what rounding does.
    fn agree(level: Level, w: &Packed, n: usize) -> Vec<f32> {
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
        integers.hold(level, Order::Nibbles, &[1e9; 2048], 2048);
        integers.hold(level, Order::of(w.format), &x, w.cols);
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
        y
    }

    #[cfg_attr(not(target_arch = "wasm32"), test)]
    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    fn nothing_is_nothing() {
        let mut integers = Integers::default();
        let mut hold = |x: &[f32]| {
            integers.hold(Level::detect(), Order::Plain, x, x.len());
            (integers.held.groups[0], integers.held.pairs[0])
        };
        assert_eq!(hold(&[0.0; 64]), ([0; GROUP], [0.0; 2]));
        let (_, [_, sum]) = hold(&[-3.0; 32]);
        assert!((sum + 96.0).abs() < 1e-4);
        let mut group = [0; GROUP];
        quantise(&[-3.0; GROUP], LARGEST, &mut group);
        assert_eq!(group, [-LARGEST; GROUP]);
    }
}
