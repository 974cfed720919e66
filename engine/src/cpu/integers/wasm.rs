//! WebAssembly's 128-bit SIMD: `i32x4.dot_i16x8_s` multiplies eight words and adds them in pairs.
#![expect(unsafe_code, reason = "vectors are loaded through pointers")]

use super::{Group, HALVES, Halves, Simd};
use crate::formats::GROUP;
use core::arch::wasm32::*;

/// A browser.
pub struct Simd128;

/// Words `8 · i ..` of a group.
#[inline(always)]
fn words(x: &Group, i: usize) -> v128 {
    let eight = &x.as_chunks::<8>().0[i];
    // SAFETY: eight words are the sixteen bytes that are read, at any alignment.
    unsafe { v128_load(eight.as_ptr().cast()) }
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

#[inline(always)]
fn dot4(w: [v128; 4], x: &Group) -> v128 {
    let dot = |i: usize| i32x4_dot_i16x8(w[i], words(x, i));
    i32x4_add(i32x4_add(dot(0), dot(1)), i32x4_add(dot(2), dot(3)))
}

/// Signed bytes as words.
#[inline(always)]
fn widened(first: v128, second: v128) -> [v128; 4] {
    [
        i16x8_extend_low_i8x16(first),
        i16x8_extend_high_i8x16(first),
        i16x8_extend_low_i8x16(second),
        i16x8_extend_high_i8x16(second),
    ]
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
    /// Of eight words with four nibbles each, first all lowest ones: shifts by words and a mask part them, where
    /// bytes would have to be widened.
    const NIBBLES: [usize; GROUP] = {
        let mut order = [0; GROUP];
        let mut i = 0;
        while i < GROUP {
            let (nibble, word) = (i / 8, i % 8);
            order[i] = 2 * word + nibble / 2 + nibble % 2 * (GROUP / 2);
            i += 1;
        }
        order
    };

    #[inline(always)]
    fn zero() -> v128 {
        f32x4_splat(0.0)
    }

    #[inline(always)]
    fn nibbles(q: &[u8; GROUP / 2], x: &Group) -> v128 {
        let (q, lowest) = (sixteen(q, 0), u16x8_splat(15));
        let w = [
            v128_and(q, lowest),
            v128_and(u16x8_shr(q, 4), lowest),
            v128_and(u16x8_shr(q, 8), lowest),
            u16x8_shr(q, 12),
        ];
        dot4(w, x)
    }

    #[inline(always)]
    fn bytes(q: &[u8; GROUP], x: &Group) -> v128 {
        let (first, second) = (sixteen(q, 0), sixteen(q, 1));
        dot4(widened(first, second), x)
    }

    #[inline(always)]
    fn signs(q: &[u8; GROUP / 8], x: &Group) -> v128 {
        let bytes = u32x4_splat(u32::from_le_bytes(*q));
        let bits = u8x16(1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128);
        // A byte for each bit: 1 where it is set, otherwise -1.
        let signs = |spread: v128| {
            let unset = u8x16_eq(v128_and(spread, bits), u8x16_splat(0));
            v128_or(unset, u8x16_splat(1))
        };
        let first = signs(u8x16_shuffle::<
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            1,
            1,
            1,
            1,
            1,
            1,
            1,
            1,
        >(bytes, bytes));
        let second = signs(u8x16_shuffle::<
            2,
            2,
            2,
            2,
            2,
            2,
            2,
            2,
            3,
            3,
            3,
            3,
            3,
            3,
            3,
            3,
        >(bytes, bytes));
        dot4(widened(first, second), x)
    }

    #[inline(always)]
    fn words(w: &Group, x: &Group) -> v128 {
        dot4([words(w, 0), words(w, 1), words(w, 2), words(w, 3)], x)
    }

    #[inline(always)]
    fn add(total: v128, sums: v128, scale: f32) -> v128 {
        f32x4_add(
            total,
            f32x4_mul(f32x4_convert_i32x4(sums), f32x4_splat(scale)),
        )
    }

    #[inline(always)]
    fn add_floats(total: v128, a: &[f32; HALVES], b: &[f32; HALVES]) -> v128 {
        let product = |i: usize| f32x4_mul(four(a, i), four(b, i));
        f32x4_add(total, f32x4_add(product(0), product(1)))
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
        f32x4_add(total, f32x4_mul(f32x4_convert_i32x4(sums), scale))
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
