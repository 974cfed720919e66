//! Relaxed SIMD's products of sixteen bytes. Of one of the two factors no byte may be negative: machines differ in what they
//! take it for.
//!
//! They also differ in what is fast. ARM's and the latest x86's add four products at once, others do it in two steps,
//! of which the second may as well serve two products of sixteen.

use super::{
    super::{Group, simd::in_order},
    Simd128,
};
use crate::formats::GROUP;
use core::arch::wasm32::*;
use std::hint::black_box;

pub const HAS_FOURS: bool = true;

/// Whether four products are added at once: then nothing is lost on the way, where two steps have 16 bits in between.
#[target_feature(enable = "relaxed-simd")]
pub fn adds_fours() -> bool {
    let (most, too_much) = (black_box(i8x16_splat(127)), black_box(i8x16_splat(-1)));
    let sums = i32x4_relaxed_dot_i8x16_i7x16_add(most, too_much, i32x4_splat(0));
    i32x4_extract_lane::<0>(sums) != 2 * i32::from(i16::MAX)
}

/// Low nibbles are the first half of a group, and high ones the second.
pub const NIBBLES: [usize; GROUP] = in_order();

#[derive(Clone, Copy)]
pub struct Constants {
    zero: v128,
    /// The lower nibble of each byte.
    lowest: v128,
    /// Words of 1.
    word_ones: v128,
}

impl Constants {
    #[inline(always)]
    pub fn new() -> Self {
        Self {
            zero: black_box(i32x4_splat(0)),
            lowest: black_box(u8x16_splat(15)),
            word_ones: black_box(i16x8_splat(1)),
        }
    }
}

/// Bytes `16 · i ..` of a group.
#[inline(always)]
fn bytes_of(x: &Group, i: usize) -> v128 {
    let sixteen = &x.as_chunks::<16>().0[i];
    // SAFETY: sixteen bytes are read, at any alignment.
    unsafe { v128_load(sixteen.as_ptr().cast()) }
}

/// `Σ w·x` of weights from 0 to 63.
#[inline(always)]
fn dot2<const FOURS: bool>(s: Simd128<FOURS>, w: [v128; 2], x: &Group) -> v128 {
    if FOURS {
        let first = i32x4_relaxed_dot_i8x16_i7x16_add(bytes_of(x, 0), w[0], s.dots.zero);
        i32x4_relaxed_dot_i8x16_i7x16_add(bytes_of(x, 1), w[1], first)
    } else {
        let dot = |i: usize| i16x8_relaxed_dot_i8x16_i7x16(bytes_of(x, i), w[i]);
        i32x4_dot_i16x8(i16x8_add(dot(0), dot(1)), s.dots.word_ones)
    }
}

/// `Σ w·x` of any weights: signs go from `x` to `w`.
#[inline(always)]
fn dot2_signed<const FOURS: bool>(s: Simd128<FOURS>, w: [v128; 2], x: &Group) -> v128 {
    let signed = |i: usize| {
        let x = bytes_of(x, i);
        let negative = i8x16_lt(x, s.dots.zero);
        (i8x16_sub(v128_xor(w[i], negative), negative), i8x16_abs(x))
    };
    let ((w0, x0), (w1, x1)) = (signed(0), signed(1));
    if FOURS {
        let first = i32x4_relaxed_dot_i8x16_i7x16_add(w0, x0, s.dots.zero);
        i32x4_relaxed_dot_i8x16_i7x16_add(w1, x1, first)
    } else {
        // Both together might not fit into a word.
        let dot = |w, x| i32x4_dot_i16x8(i16x8_relaxed_dot_i8x16_i7x16(w, x), s.dots.word_ones);
        i32x4_add(dot(w0, x0), dot(w1, x1))
    }
}

#[inline(always)]
pub fn nibbles<const FOURS: bool>(s: Simd128<FOURS>, q: v128, x: &Group) -> v128 {
    let lowest = s.dots.lowest;
    // By words: shifts of bytes are several instructions on some machines.
    let high = v128_and(u16x8_shr(q, 4), lowest);
    dot2(s, [v128_and(q, lowest), high], x)
}

#[inline(always)]
pub fn bytes<const FOURS: bool>(s: Simd128<FOURS>, q: [v128; 2], x: &Group) -> v128 {
    dot2_signed(s, q, x)
}

#[inline(always)]
pub fn bits<const FOURS: bool>(s: Simd128<FOURS>, spread: [v128; 2], x: &Group) -> v128 {
    dot2(s, spread, x)
}

#[inline(always)]
pub fn unpacked<const FOURS: bool, const SIGNED: bool>(
    s: Simd128<FOURS>,
    w: &Group,
    x: &Group,
) -> v128 {
    let w = [bytes_of(w, 0), bytes_of(w, 1)];
    if SIGNED {
        dot2_signed(s, w, x)
    } else {
        dot2(s, w, x)
    }
}

/// Bytes of the first by their places.
#[inline(always)]
pub fn pick(bytes: v128, places: v128) -> v128 {
    i8x16_relaxed_swizzle(bytes, places)
}

/// `a · b + c`
#[inline(always)]
pub fn multiply_add(a: v128, b: v128, c: v128) -> v128 {
    f32x4_relaxed_madd(a, b, c)
}
