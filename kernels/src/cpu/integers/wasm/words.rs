//! `i32x4.dot_i16x8_s` multiplies eight words and adds them in pairs.

use super::{Dots, Simd128, dot4, eight, sixteen, widened};
use crate::{
    cpu::integers::{Group, Order, simd::IN_ORDER},
    formats::GROUP,
};
use core::arch::wasm32::*;

/// Weights are widened to words.
#[derive(Clone, Copy)]
pub struct Words;

/// Of eight words with four nibbles each, first all lowest ones: shifts by words and a mask part them, where bytes would
/// have to be widened.
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

impl Dots for Words {
    const BITS: [usize; GROUP] = IN_ORDER;
    const LOWEST: v128 = u16x8(15, 15, 15, 15, 15, 15, 15, 15);

    #[inline(always)]
    fn activations(order: Order, of: impl Fn(usize) -> i16) -> Group {
        match order {
            Order::Nibbles => NIBBLES.map(of),
            Order::Plain | Order::Bits => IN_ORDER.map(of),
        }
    }

    #[inline(always)]
    fn weights(order: Order, of: impl Fn(usize) -> i16) -> Group {
        Self::activations(order, of)
    }

    #[inline(always)]
    fn nibbles(s: Simd128<Self>, q: &[u8; GROUP / 2], x: &Group) -> v128 {
        let (q, lowest) = (sixteen(q, 0), s.lowest);
        let w = [
            v128_and(q, lowest),
            v128_and(u16x8_shr(q, 4), lowest),
            v128_and(u16x8_shr(q, 8), lowest),
            u16x8_shr(q, 12),
        ];
        dot4(w, x)
    }

    #[inline(always)]
    fn bits(s: Simd128<Self>, q: &[u8; GROUP / 8], x: &Group) -> v128 {
        dot4(widened(s.spread(q)), x)
    }

    #[inline(always)]
    fn unpacked(w: &Group, x: &Group) -> v128 {
        dot4(std::array::from_fn(|i| eight(w, i)), x)
    }
}
