//! WebAssembly's 128-bit SIMD. What multiplies whole numbers is in `dots`, of which there are two.
#![expect(unsafe_code, reason = "vectors are loaded through pointers")]

#[cfg_attr(feature = "relaxed-simd", path = "wasm/bytes.rs")]
#[cfg_attr(not(feature = "relaxed-simd"), path = "wasm/words.rs")]
mod dots;

use super::{Group, HALVES, Halves, Held, Integers, Order, Packed, Simd, Work};
use crate::formats::GROUP;
use core::arch::wasm32::*;
use std::ops::Range;

// A browser checks all instructions of a program before it runs any, so nothing is to be asked for: a program with the
// feature is not loaded where they are missing. What is inlined here may use them.

/// [`Integers::multiply`] in a browser.
#[cfg_attr(feature = "relaxed-simd", target_feature(enable = "relaxed-simd"))]
pub fn multiply(
    x: &mut Integers,
    w: &Packed,
    rows: Range<usize>,
    places: &[(usize, usize)],
    y: &mut [f32],
) {
    super::multiply::<Simd128>(x, w, rows, places, y);
}

/// [`Integers::hold`] in a browser.
pub fn hold(held: &mut Held, order: Order, x: &[f32], cols: usize) {
    held.fill::<Simd128>(order, x, cols);
}

/// [`Work`] in a browser.
#[cfg_attr(feature = "relaxed-simd", target_feature(enable = "relaxed-simd"))]
pub fn run(work: impl Work) {
    work.run::<Simd128>();
}

/// A browser.
pub struct Simd128;

#[inline(always)]
fn sixteen(q: &[u8], i: usize) -> v128 {
    let sixteen = &q.as_chunks::<16>().0[i];
    // SAFETY: sixteen bytes are read, at any alignment.
    unsafe { v128_load(sixteen.as_ptr().cast()) }
}

/// A byte for each bit: 1 where it is set, otherwise 0.
#[inline(always)]
fn spread(q: &[u8; GROUP / 8]) -> [v128; 2] {
    let bytes = u32x4_splat(u32::from_le_bytes(*q));
    let bits = u8x16(1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128);
    #[rustfmt::skip]
    let both = [
        u8x16_shuffle::<0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1>(bytes, bytes),
        u8x16_shuffle::<2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3>(bytes, bytes),
    ];
    both.map(|spread| u8x16_min(v128_and(spread, bits), u8x16_splat(1)))
}

#[inline(always)]
fn four(x: &[f32; HALVES], i: usize) -> v128 {
    let four = &x.as_chunks::<4>().0[i];
    // SAFETY: four floats are the sixteen bytes that are read, at any alignment.
    unsafe { v128_load(four.as_ptr().cast()) }
}

/// Finite f16 numbers, widened with their signs to 32 bits.
#[inline(always)]
fn floats(halves: v128) -> v128 {
    // As `formats::widen`: behind the sign, which stands in all upper bits, three are to go, and then what is shifted.
    let bits = v128_and(i32x4_shl(halves, 13), u32x4_splat(0x8FFF_E000));
    f32x4_mul(bits, f32x4_splat(f32::from_bits((127 + 112) << 23)))
}

impl Simd for Simd128 {
    type Sums = v128;
    type Total = v128;
    type Scales = [v128; 2];
    const NIBBLES: [usize; GROUP] = dots::NIBBLES;

    #[inline(always)]
    fn zero() -> v128 {
        f32x4_splat(0.0)
    }

    #[inline(always)]
    fn nibbles(q: &[u8; GROUP / 2], x: &Group) -> v128 {
        dots::nibbles(q, x)
    }

    #[inline(always)]
    fn bytes(q: &[u8; GROUP], x: &Group) -> v128 {
        dots::bytes(q, x)
    }

    #[inline(always)]
    fn bits(q: &[u8; GROUP / 8], x: &Group) -> v128 {
        dots::bits(q, x)
    }

    #[inline(always)]
    fn unpacked<const SIGNED: bool>(w: &Group, x: &Group) -> v128 {
        dots::unpacked::<SIGNED>(w, x)
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
    fn scales(halves: &Halves, x: &[f32; HALVES]) -> [v128; 2] {
        let halves = sixteen(halves, 0);
        [
            f32x4_mul(floats(i32x4_extend_low_i16x8(halves)), four(x, 0)),
            f32x4_mul(floats(i32x4_extend_high_i16x8(halves)), four(x, 1)),
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
