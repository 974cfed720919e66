//! `i32x4.dot_i16x8_s` multiplies eight words and adds them in pairs: what every browser has.

use super::{super::Group, Simd128};
use crate::formats::GROUP;
use core::arch::wasm32::*;
use std::hint::black_box;

pub const HAS_FOURS: bool = false;

/// Nothing that it has does so.
pub fn adds_fours() -> bool {
    false
}

/// Of eight words with four nibbles each, first all lowest ones: shifts by words and a mask part them, where
/// bytes would have to be widened.
pub const NIBBLES: [usize; GROUP] = {
    let mut order = [0; GROUP];
    let mut i = 0;
    while i < GROUP {
        let (nibble, word) = (i / 8, i % 8);
        order[i] = 2 * word + nibble / 2 + nibble % 2 * (GROUP / 2);
        i += 1;
    }
    order
};

#[derive(Clone, Copy)]
pub struct Constants {
    /// The lowest nibble of each word.
    lowest: v128,
}

impl Constants {
    #[inline(always)]
    pub fn new() -> Self {
        Self {
            lowest: black_box(u16x8_splat(15)),
        }
    }
}

/// Words `8 · i ..` of a group.
#[inline(always)]
fn words(x: &Group, i: usize) -> v128 {
    let eight = &x.as_chunks::<8>().0[i];
    // SAFETY: eight words are the sixteen bytes that are read, at any alignment.
    unsafe { v128_load(eight.as_ptr().cast()) }
}

#[inline(always)]
fn dot4(w: [v128; 4], x: &Group) -> v128 {
    let dot = |i: usize| i32x4_dot_i16x8(w[i], words(x, i));
    i32x4_add(i32x4_add(dot(0), dot(1)), i32x4_add(dot(2), dot(3)))
}

#[inline(always)]
pub fn nibbles<const FOURS: bool>(s: Simd128<FOURS>, q: v128, x: &Group) -> v128 {
    let lowest = s.dots.lowest;
    let w = [
        v128_and(q, lowest),
        v128_and(u16x8_shr(q, 4), lowest),
        v128_and(u16x8_shr(q, 8), lowest),
        u16x8_shr(q, 12),
    ];
    dot4(w, x)
}

#[inline(always)]
pub fn bytes<const FOURS: bool>(_: Simd128<FOURS>, q: [v128; 2], x: &Group) -> v128 {
    let [first, second] = q;
    let words = [
        i16x8_extend_low_i8x16(first),
        i16x8_extend_high_i8x16(first),
        i16x8_extend_low_i8x16(second),
        i16x8_extend_high_i8x16(second),
    ];
    dot4(words, x)
}

#[inline(always)]
pub fn bits<const FOURS: bool>(s: Simd128<FOURS>, spread: [v128; 2], x: &Group) -> v128 {
    bytes(s, spread, x)
}

#[inline(always)]
pub fn unpacked<const FOURS: bool, const SIGNED: bool>(
    _: Simd128<FOURS>,
    w: &Group,
    x: &Group,
) -> v128 {
    dot4([words(w, 0), words(w, 1), words(w, 2), words(w, 3)], x)
}

/// Bytes of the first by their places.
#[inline(always)]
pub fn pick(bytes: v128, places: v128) -> v128 {
    u8x16_swizzle(bytes, places)
}

/// `a · b + c`
#[inline(always)]
pub fn multiply_add(a: v128, b: v128, c: v128) -> v128 {
    f32x4_add(c, f32x4_mul(a, b))
}
