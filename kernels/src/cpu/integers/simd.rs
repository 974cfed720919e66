//! What a product of packed weights is made of, which every instruction set does in its own way.

use super::{Group, Order, Work};
use crate::formats::GROUP;

/// What an instruction set does with a group. A value of it holds what loops find in registers.
pub trait Simd: Copy {
    /// A group of weights, unpacked.
    type Weights: Copy;
    /// Whole numbers that are still to be added up.
    type Sums: Copy;
    /// Eight whole numbers, each a sum of its own.
    type Eight: Copy;
    /// Floats that are still to be added up.
    type Total: Copy;
    /// Eight floats.
    type Scales: Copy;

    /// Has it done, where registers are handed out function by function, by one of its own.
    #[inline(always)]
    fn apart(work: impl Work) {
        work.run::<Self>();
    }
    /// At the beginning of a function, before its loops.
    fn new() -> Self;
    /// Nothing yet.
    fn zero() -> Self::Total;
    /// A group of activations as its products want it.
    #[inline(always)]
    fn activations(order: Order, x: Group) -> Group {
        let _ = order;
        x
    }
    /// Nibbles 0 ..= 15, the first half of the group in the lower ones; for [`Order::Nibbles`].
    fn nibbles(self, q: &[u8; GROUP / 2]) -> Self::Weights;
    /// Signed bytes; for [`Order::Plain`].
    fn bytes(self, q: &[u8; GROUP]) -> Self::Weights;
    /// 1 where the bit is set, otherwise 0; for [`Order::Bits`].
    fn bits(self, q: &[u8; GROUP / 8]) -> Self::Weights;
    /// Into memory.
    fn store(w: Self::Weights) -> Group;
    /// What was stored.
    fn load(w: &Group) -> Self::Weights;
    /// `Σ w·x`, both for one order, which is [`Order::Plain`] where weights are `SIGNED`.
    fn dot<const SIGNED: bool>(w: Self::Weights, x: &Group) -> Self::Sums;
    /// Eight whole numbers that are 0.
    fn eight() -> Self::Eight;
    /// `sums[lane] + Σ x[i] · m[lane, i]`
    fn add_pairs(sums: Self::Eight, x: &Pair, m: &Pairs) -> Self::Eight;
    /// One by one.
    fn floats(sums: Self::Eight) -> [f32; HALVES];
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

    /// Has memory fetch what lies some KiB behind this, a line of it, where that can be asked for.
    fn fetch_ahead<T>(_line: &T) {}
}

/// As many scales as are widened at once.
pub const HALVES: usize = 8;
pub type Halves = [u8; 2 * HALVES];

/// Words that are multiplied with two others and added.
pub type Pair = [i16; 2];
/// Eight pairs, side by side.
pub type Pairs = [Pair; 8];

/// A group's numbers as they are packed.
pub trait Quants {
    fn unpack<S: Simd>(&self, s: S) -> S::Weights;
    /// `Σ q·x`
    fn dot<S: Simd>(&self, s: S, x: &Group) -> S::Sums;
}

macro_rules! quants {
    ($($bytes:ty: $method:ident, $signed:literal;)*) => {$(
        impl Quants for $bytes {
            #[inline(always)]
            fn unpack<S: Simd>(&self, s: S) -> S::Weights {
                s.$method(self)
            }

            #[inline(always)]
            fn dot<S: Simd>(&self, s: S, x: &Group) -> S::Sums {
                S::dot::<$signed>(s.$method(self), x)
            }
        }
    )*};
}

// A trait and not a function's argument: what is called through one is not inlined where the level's instructions are.
quants! {
    [u8; GROUP / 2]: nibbles, false;
    [u8; GROUP]: bytes, true;
    [u8; GROUP / 8]: bits, false;
}
