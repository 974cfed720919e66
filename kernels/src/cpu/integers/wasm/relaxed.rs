//! Relaxed SIMD: `i32x4.relaxed_dot_i8x16_i7x16_add_s` multiplies sixteen bytes and adds them in fours, which ARM and newer
//! x86 machines do in one instruction, and others in four (index.html asks which).
//!
//! "Relaxed" are results that machines may differ in: of a second factor above 127, and of pairs beyond 16 bits. Packed
//! weights go no further than 15, so none of that happens here, and the sums are those of [`super::words`].

use super::{Dots, Simd128, sixteen};
use crate::{
    cpu::integers::{Group, Held, Integers, Order, Packed, Work, bytes},
    formats::GROUP,
};
use core::arch::wasm32::*;
use std::ops::Range;

/// Unsigned weights are bytes, and an activation is two ([`bytes`]).
#[derive(Clone, Copy)]
pub struct Bytes;

// A browser checks all instructions of a program before it runs any, so nothing is asked for here: one that lacks these
// does not load the program. What is inlined into the next two functions may use them.

/// [`Integers::multiply`]
#[target_feature(enable = "relaxed-simd")]
pub fn multiply(
    x: &mut Integers,
    w: &Packed,
    rows: Range<usize>,
    places: &[(usize, usize)],
    y: &mut [f32],
) {
    crate::cpu::integers::multiply::<Simd128<Bytes>>(x, w, rows, places, y);
}

/// [`Work`]
#[target_feature(enable = "relaxed-simd")]
pub fn run(work: impl Work) {
    work.run::<Simd128<Bytes>>();
}

/// [`Integers::hold`]
pub fn hold(held: &mut Held, order: Order, x: &[f32], cols: usize) {
    held.fill::<Simd128<Bytes>>(order, x, cols);
}

/// Bytes of which four that follow are in one sum of words' products, so that every sum has the same parts.
const BITS: [usize; GROUP] = {
    let mut order = [0; GROUP];
    let mut i = 0;
    while i < GROUP {
        let (four, byte) = (i % 16 / 4, i % 4);
        order[i] = i / 16 * 16 + byte / 2 * 8 + 2 * four + byte % 2;
        i += 1;
    }
    order
};

/// Bytes `16 · i ..` of the group's memory.
#[inline(always)]
fn part(x: &Group, i: usize) -> v128 {
    sixteen(bytemuck::bytes_of(x), i)
}

impl Dots for Bytes {
    const BITS: [usize; GROUP] = BITS;
    const LOWEST: v128 = u8x16(
        15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,
    );

    #[inline(always)]
    fn activations(order: Order, x: Group) -> Group {
        match order {
            Order::Plain => x,
            Order::Nibbles => bytes::activations(x),
            Order::Bits => bytes::activations(BITS.map(|i| x[i])),
        }
    }

    #[inline(always)]
    fn nibbles(s: Simd128<Self>, q: &[u8; GROUP / 2]) -> [v128; 4] {
        let q = sixteen(q, 0);
        let lower = v128_and(q, s.lowest);
        // By words: x86 has no shift of bytes.
        let upper = v128_and(u16x8_shr(q, 4), s.lowest);
        [lower, upper, lower, upper]
    }

    #[inline(always)]
    fn bits(s: Simd128<Self>, q: &[u8; GROUP / 8]) -> [v128; 4] {
        let [first, second] = s.spread(q);
        [first, second, first, second]
    }

    #[inline(always)]
    fn dot([first, second, ..]: [v128; 4], x: &Group) -> v128 {
        let add = |w, i, sums| i32x4_relaxed_dot_i8x16_i7x16_add(part(x, i), w, sums);
        let upper = add(second, 1, add(first, 0, i32x4_splat(0)));
        add(second, 3, add(first, 2, i32x4_shl(upper, 8)))
    }
}
