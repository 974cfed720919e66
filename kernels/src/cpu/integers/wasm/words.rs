//! `i32x4.dot_i16x8_s` multiplies eight words and adds them in pairs.

use super::{Dots, IN_ORDER, Simd128, dot4, sixteen, widened};
use crate::{
    cpu::integers::{Group, Order},
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
    fn activations(order: Order, x: Group) -> Group {
        match order {
            Order::Nibbles => NIBBLES.map(|i| x[i]),
            Order::Plain | Order::Bits => x,
        }
    }

    #[inline(always)]
    fn nibbles(s: Simd128<Self>, q: &[u8; GROUP / 2]) -> [v128; 4] {
        let (q, lowest) = (sixteen(q, 0), s.lowest);
        [
            v128_and(q, lowest),
            v128_and(u16x8_shr(q, 4), lowest),
            v128_and(u16x8_shr(q, 8), lowest),
            u16x8_shr(q, 12),
        ]
    }

    #[inline(always)]
    fn bits(s: Simd128<Self>, q: &[u8; GROUP / 8]) -> [v128; 4] {
        widened(s.spread(q))
    }

    #[inline(always)]
    fn dot(w: [v128; 4], x: &Group) -> v128 {
        dot4(w, x)
    }
}
