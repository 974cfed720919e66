//! What a product of packed weights is made of, which every instruction set does in its own way.

use super::{Group, Order};
use crate::formats::GROUP;

/// What an instruction set does with a group. A value of it holds what loops find in registers.
pub trait Simd: Copy {
    /// Whole numbers that are still to be added up.
    type Sums: Copy;
    /// Floats that are still to be added up.
    type Total: Copy;
    /// Eight floats.
    type Scales: Copy;

    /// At the beginning of a function, before its loops.
    fn new() -> Self;
    /// Nothing yet.
    fn zero() -> Self::Total;
    /// A group of activations as its products want it; `of` is one of them.
    #[inline(always)]
    fn activations(order: Order, of: impl Fn(usize) -> i16) -> Group {
        let _ = order;
        IN_ORDER.map(of)
    }
    /// A group of weights, unpacked, as [`Simd::unpacked`] wants it; `of` is one of them.
    #[inline(always)]
    fn weights(order: Order, of: impl Fn(usize) -> i16) -> Group {
        Self::activations(order, of)
    }
    /// `Σ q·x` of nibbles 0 ..= 15, the first half of the group in the lower ones; `x` for [`Order::Nibbles`].
    fn nibbles(self, q: &[u8; GROUP / 2], x: &Group) -> Self::Sums;
    /// `Σ q·x` of signed bytes; `x` for [`Order::Plain`].
    fn bytes(self, q: &[u8; GROUP], x: &Group) -> Self::Sums;
    /// `Σ x` where the bit is set; `x` for [`Order::Bits`].
    fn bits(self, q: &[u8; GROUP / 8], x: &Group) -> Self::Sums;
    /// `Σ w·x`, both for [`Order::Plain`] where weights are `SIGNED`, otherwise for another order.
    fn unpacked<const SIGNED: bool>(self, w: &Group, x: &Group) -> Self::Sums;
    /// No whole numbers yet.
    fn none() -> Self::Sums;
    /// `sums + Σ q·x`
    fn add_words(sums: Self::Sums, q: &[i16; 16], x: &[i16; 16]) -> Self::Sums;
    /// All of each, times its scale; a sum's parts fit into 32 bits, and the whole need not.
    fn sum_four(sums: [Self::Sums; 4], scales: &[f32; 4]) -> [f32; 4];
    /// `total + scale · sums`
    fn add(total: Self::Total, sums: Self::Sums, scale: f32) -> Self::Total;
    /// The same by one of eight scales.
    fn add_by<const LANE: usize>(
        total: Self::Total,
        sums: Self::Sums,
        scales: Self::Scales,
    ) -> Self::Total;
    /// `total + a · b`, lane by lane.
    fn add_floats(total: Self::Total, a: &[f32; HALVES], b: &[f32; HALVES]) -> Self::Total;
    /// All of it.
    fn sum(total: Self::Total) -> f32;

    /// Finite f16 numbers, each times its `x`.
    fn scales(self, halves: &Halves, x: &[f32; HALVES]) -> Self::Scales;
    /// `a + b`
    fn both(a: Self::Scales, b: Self::Scales) -> Self::Scales;
    /// One by one.
    fn lanes(scales: Self::Scales) -> [f32; HALVES];

    /// Has memory fetch what lies some rows behind these 64 bytes, where that can be asked for.
    fn fetch_ahead(_bytes: &[u8; 64]) {}
}

/// 0, 1, 2, …
pub const IN_ORDER: [usize; GROUP] = {
    let mut order = [0; GROUP];
    let mut i = 0;
    while i < GROUP {
        order[i] = i;
        i += 1;
    }
    order
};

/// As many scales as are widened at once.
pub const HALVES: usize = 8;
pub type Halves = [u8; 2 * HALVES];

/// A group's numbers as they are packed.
pub trait Quants {
    fn dot<S: Simd>(&self, s: S, x: &Group) -> S::Sums;
}

macro_rules! quants {
    ($($bytes:ty: $method:ident),*) => {$(
        impl Quants for $bytes {
            #[inline(always)]
            fn dot<S: Simd>(&self, s: S, x: &Group) -> S::Sums {
                s.$method(self, x)
            }
        }
    )*};
}

// A trait and not a function's argument: what is called through one is not inlined where the level's instructions are.
quants!([u8; GROUP / 2]: nibbles, [u8; GROUP]: bytes, [u8; GROUP / 8]: bits);
