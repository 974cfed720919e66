//! `i32x4.relaxed_dot_i8x16_i7x16_add_s` multiplies sixteen bytes and adds them in fours. Of one of its factors no byte
//! may be negative: machines differ in what they take it for.

use super::{
    super::{Group, simd::in_order},
    sixteen, spread,
};
use crate::formats::GROUP;
use core::arch::wasm32::*;

/// Low nibbles are the first half of a group, and high ones the second.
pub const NIBBLES: [usize; GROUP] = in_order();

/// Bytes `16 · i ..` of a group.
#[inline(always)]
fn bytes_of(x: &Group, i: usize) -> v128 {
    let sixteen = &x.as_chunks::<16>().0[i];
    // SAFETY: sixteen bytes are read, at any alignment.
    unsafe { v128_load(sixteen.as_ptr().cast()) }
}

/// `Σ w·x` of weights that are not negative.
#[inline(always)]
fn dot2(w: [v128; 2], x: &Group) -> v128 {
    let first = i32x4_relaxed_dot_i8x16_i7x16_add(bytes_of(x, 0), w[0], i32x4_splat(0));
    i32x4_relaxed_dot_i8x16_i7x16_add(bytes_of(x, 1), w[1], first)
}

/// `Σ w·x` of any weights: signs go from `x` to `w`.
#[inline(always)]
fn dot2_signed(w: [v128; 2], x: &Group) -> v128 {
    let mut sums = i32x4_splat(0);
    for (i, w) in w.into_iter().enumerate() {
        let x = bytes_of(x, i);
        let negative = i8x16_lt(x, i8x16_splat(0));
        let w = i8x16_sub(v128_xor(w, negative), negative);
        sums = i32x4_relaxed_dot_i8x16_i7x16_add(w, i8x16_abs(x), sums);
    }
    sums
}

#[inline(always)]
pub fn nibbles(q: &[u8; GROUP / 2], x: &Group) -> v128 {
    let (q, lowest) = (sixteen(q, 0), u8x16_splat(15));
    // By words: shifts of bytes are several instructions on some machines.
    let high = v128_and(u16x8_shr(q, 4), lowest);
    dot2([v128_and(q, lowest), high], x)
}

#[inline(always)]
pub fn bytes(q: &[u8; GROUP], x: &Group) -> v128 {
    dot2_signed([sixteen(q, 0), sixteen(q, 1)], x)
}

#[inline(always)]
pub fn bits(q: &[u8; GROUP / 8], x: &Group) -> v128 {
    dot2(spread(q), x)
}

#[inline(always)]
pub fn unpacked<const SIGNED: bool>(w: &Group, x: &Group) -> v128 {
    let w = [bytes_of(w, 0), bytes_of(w, 1)];
    if SIGNED {
        dot2_signed(w, x)
    } else {
        dot2(w, x)
    }
}

/// `a · b + c`
#[inline(always)]
pub fn multiply_add(a: v128, b: v128, c: v128) -> v128 {
    f32x4_relaxed_madd(a, b, c)
}
