//! WebAssembly's 128-bit SIMD. What multiplies whole numbers is in `dots`, of which there are two.
#![expect(unsafe_code, reason = "vectors are loaded through pointers")]

#[cfg_attr(feature = "relaxed-simd", path = "wasm/bytes.rs")]
#[cfg_attr(not(feature = "relaxed-simd"), path = "wasm/words.rs")]
mod dots;

use super::{Group, HALVES, Halves, Held, Integers, Number, Order, Packed, Simd, Work};
use crate::formats::GROUP;
use core::arch::wasm32::*;
use std::{hint::black_box, ops::Range};

// A browser checks all instructions of a program before it runs any, so nothing is to be asked for: a program with the
// feature is not loaded where they are missing. What is inlined here may use them.

pub use dots::{HAS_FOURS, adds_fours};

/// [`Integers::multiply`] in a browser.
#[cfg_attr(feature = "relaxed-simd", target_feature(enable = "relaxed-simd"))]
pub fn multiply(
    fours: bool,
    x: &mut Integers,
    w: &Packed,
    rows: Range<usize>,
    places: &[(usize, usize)],
    y: &mut [f32],
) {
    if HAS_FOURS && fours {
        super::multiply::<Simd128<HAS_FOURS>>(x, w, rows, places, y);
    } else {
        super::multiply::<Simd128<false>>(x, w, rows, places, y);
    }
}

/// [`Integers::hold`] in a browser.
pub fn hold(held: &mut Held, most: Number, order: Order, x: &[f32], cols: usize) {
    held.fill::<Simd128<false>>(most, order, x, cols);
}

/// [`Work`] in a browser.
#[cfg_attr(feature = "relaxed-simd", target_feature(enable = "relaxed-simd"))]
pub fn run(work: impl Work) {
    work.run::<Simd128<false>>();
}

/// A browser; with `FOURS`, one whose machine adds four products at once.
///
/// Its constants are hidden from the compiler, which would write them anew wherever they are used; browsers make some
/// instructions of each.
#[derive(Clone, Copy)]
pub struct Simd128<const FOURS: bool> {
    /// Bytes of 1.
    ones: v128,
    /// Bytes of 1, 2, 4, … 128, twice.
    bits: v128,
    /// Bytes of 0 and 1, and of 2 and 3.
    places: [v128; 2],
    /// Of a sign and what is behind it, widened, what there is of an f16.
    half: v128,
    dots: dots::Constants,
}

#[inline(always)]
fn sixteen(q: &[u8], i: usize) -> v128 {
    let sixteen = &q.as_chunks::<16>().0[i];
    // SAFETY: sixteen bytes are read, at any alignment.
    unsafe { v128_load(sixteen.as_ptr().cast()) }
}

#[inline(always)]
fn four(x: &[f32; HALVES], i: usize) -> v128 {
    let four = &x.as_chunks::<4>().0[i];
    // SAFETY: four floats are the sixteen bytes that are read, at any alignment.
    unsafe { v128_load(four.as_ptr().cast()) }
}

impl<const FOURS: bool> Simd128<FOURS> {
    /// A byte for each bit: 1 where it is set, otherwise 0.
    #[inline(always)]
    fn spread(self, q: &[u8; GROUP / 8]) -> [v128; 2] {
        let bytes = u32x4_splat(u32::from_le_bytes(*q));
        let byte = |places| u8x16_min(v128_and(dots::pick(bytes, places), self.bits), self.ones);
        self.places.map(byte)
    }

    /// Finite f16 numbers, widened with their signs to 32 bits.
    #[inline(always)]
    fn floats(self, halves: v128) -> v128 {
        // As `formats::widen`: behind the sign, which stands in all upper bits, three are to go, and then what is shifted.
        let bits = v128_and(i32x4_shl(halves, 13), self.half);
        f32x4_mul(bits, f32x4_splat(f32::from_bits((127 + 112) << 23)))
    }
}

impl<const FOURS: bool> Simd for Simd128<FOURS> {
    type Sums = v128;
    type Total = v128;
    type Scales = [v128; 2];
    const NIBBLES: [usize; GROUP] = dots::NIBBLES;

    #[inline(always)]
    fn new() -> Self {
        Self {
            ones: black_box(u8x16_splat(1)),
            bits: black_box(u64x2_splat(u64::from_le_bytes([
                1, 2, 4, 8, 16, 32, 64, 128,
            ]))),
            places: [[0, 1], [2, 3]].map(|[a, b]: [u64; 2]| {
                const ALL: u64 = 0x0101_0101_0101_0101;
                black_box(u64x2(a * ALL, b * ALL))
            }),
            half: black_box(u32x4_splat(0x8FFF_E000)),
            dots: dots::Constants::new(),
        }
    }

    #[inline(always)]
    fn zero() -> v128 {
        f32x4_splat(0.0)
    }

    #[inline(always)]
    fn nibbles(self, q: &[u8; GROUP / 2], x: &Group) -> v128 {
        dots::nibbles(self, sixteen(q, 0), x)
    }

    #[inline(always)]
    fn bytes(self, q: &[u8; GROUP], x: &Group) -> v128 {
        dots::bytes(self, [sixteen(q, 0), sixteen(q, 1)], x)
    }

    #[inline(always)]
    fn bits(self, q: &[u8; GROUP / 8], x: &Group) -> v128 {
        dots::bits(self, self.spread(q), x)
    }

    #[inline(always)]
    fn unpacked<const SIGNED: bool>(self, w: &Group, x: &Group) -> v128 {
        dots::unpacked::<FOURS, SIGNED>(self, w, x)
    }

    #[inline(always)]
    fn none() -> v128 {
        i32x4_splat(0)
    }

    #[inline(always)]
    fn add_words(sums: v128, q: &[i16; 16], x: &[i16; 16]) -> v128 {
        let (q, x) = (q.as_chunks::<8>().0, x.as_chunks::<8>().0);
        // SAFETY: eight words each are read, at any alignment.
        let dot = |i: usize| unsafe {
            i32x4_dot_i16x8(
                v128_load(q[i].as_ptr().cast()),
                v128_load(x[i].as_ptr().cast()),
            )
        };
        i32x4_add(i32x4_add(sums, dot(0)), dot(1))
    }

    #[inline(always)]
    fn sum_four(sums: [v128; 4], scales: &[f32; 4]) -> [f32; 4] {
        // A table turned over, half by half.
        let [a, b, c, d] = sums.map(|sums| f32x4_convert_i32x4(sums));
        let halves = |a, b| {
            f32x4_add(
                i32x4_shuffle::<0, 4, 1, 5>(a, b),
                i32x4_shuffle::<2, 6, 3, 7>(a, b),
            )
        };
        let (ab, cd) = (halves(a, b), halves(c, d));
        let all = f32x4_add(i64x2_shuffle::<0, 2>(ab, cd), i64x2_shuffle::<1, 3>(ab, cd));
        let mut floats = [0.0; 4];
        // SAFETY: four floats are the sixteen bytes that are read and written, at any alignment.
        unsafe {
            let scales = v128_load(scales.as_ptr().cast());
            let scaled = f32x4_mul(all, scales);
            v128_store(floats.as_mut_ptr().cast(), scaled);
        }
        floats
    }

    #[inline(always)]
    fn add(total: v128, sums: v128, scale: f32) -> v128 {
        dots::multiply_add(f32x4_convert_i32x4(sums), f32x4_splat(scale), total)
    }

    #[inline(always)]
    fn add_floats(total: v128, a: &[f32; HALVES], b: &[f32; HALVES]) -> v128 {
        let total = dots::multiply_add(four(a, 0), four(b, 0), total);
        dots::multiply_add(four(a, 1), four(b, 1), total)
    }

    #[inline(always)]
    fn sum(total: v128) -> f32 {
        f32x4_extract_lane::<0>(total)
            + f32x4_extract_lane::<1>(total)
            + f32x4_extract_lane::<2>(total)
            + f32x4_extract_lane::<3>(total)
    }

    #[inline(always)]
    fn add_by<const LANE: usize>(total: v128, sums: v128, scales: [v128; 2]) -> v128 {
        let four = scales[LANE / 4];
        let scale = match LANE % 4 {
            0 => i32x4_shuffle::<0, 0, 0, 0>(four, four),
            1 => i32x4_shuffle::<1, 1, 1, 1>(four, four),
            2 => i32x4_shuffle::<2, 2, 2, 2>(four, four),
            _ => i32x4_shuffle::<3, 3, 3, 3>(four, four),
        };
        dots::multiply_add(f32x4_convert_i32x4(sums), scale, total)
    }

    #[inline(always)]
    fn scales(self, halves: &Halves, x: &[f32; HALVES]) -> [v128; 2] {
        let halves = sixteen(halves, 0);
        [
            f32x4_mul(self.floats(i32x4_extend_low_i16x8(halves)), four(x, 0)),
            f32x4_mul(self.floats(i32x4_extend_high_i16x8(halves)), four(x, 1)),
        ]
    }

    #[inline(always)]
    fn both(a: [v128; 2], b: [v128; 2]) -> [v128; 2] {
        [f32x4_add(a[0], b[0]), f32x4_add(a[1], b[1])]
    }

    #[inline(always)]
    fn lanes(scales: [v128; 2]) -> [f32; HALVES] {
        let mut lanes = [0.0; HALVES];
        let (first, second) = lanes.split_at_mut(HALVES / 2);
        // SAFETY: four floats each are the sixteen bytes that are written, at any alignment.
        unsafe {
            v128_store(first.as_mut_ptr().cast(), scales[0]);
            v128_store(second.as_mut_ptr().cast(), scales[1]);
        }
        lanes
    }
}
