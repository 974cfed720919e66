//! `i32x4.dot_i16x8_s` multiplies eight words and adds them in pairs: what every browser has.

use super::{super::Group, sixteen, spread};
use crate::formats::GROUP;
use core::arch::wasm32::*;

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

/// Bytes as words.
#[inline(always)]
fn widened(first: v128, second: v128) -> [v128; 4] {
    [
        i16x8_extend_low_i8x16(first),
        i16x8_extend_high_i8x16(first),
        i16x8_extend_low_i8x16(second),
        i16x8_extend_high_i8x16(second),
    ]
}

#[inline(always)]
pub fn nibbles(q: &[u8; GROUP / 2], x: &Group) -> v128 {
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
pub fn bytes(q: &[u8; GROUP], x: &Group) -> v128 {
    let (first, second) = (sixteen(q, 0), sixteen(q, 1));
    dot4(widened(first, second), x)
}

#[inline(always)]
pub fn bits(q: &[u8; GROUP / 8], x: &Group) -> v128 {
    let [first, second] = spread(q);
    dot4(widened(first, second), x)
}

#[inline(always)]
pub fn unpacked<const SIGNED: bool>(w: &Group, x: &Group) -> v128 {
    dot4([words(w, 0), words(w, 1), words(w, 2), words(w, 3)], x)
}

/// `a · b + c`
#[inline(always)]
pub fn multiply_add(a: v128, b: v128, c: v128) -> v128 {
    f32x4_add(c, f32x4_mul(a, b))
}
