//! WebAssembly's 128-bit SIMD. What multiplies weights is in [`words`] and [`relaxed`].
#![expect(unsafe_code, reason = "vectors are loaded through pointers")]

#[cfg(feature = "relaxed-simd")]
pub mod relaxed;
mod words;

use super::{Group, HALVES, Halves, Order, Pair, Pairs, Simd, Work};
use crate::formats::GROUP;
use core::arch::wasm32::*;
use std::{hint::black_box, marker::PhantomData};

/// Any browser.
pub type Words = Simd128<words::Words>;

/// What multiplies weights: [`Simd`]'s methods of the same names, with constants in registers.
pub trait Dots: Copy {
    /// The lowest nibble of each number.
    const LOWEST: v128;
    /// The order in which a group's bits become bytes, the same for its halves.
    const BITS: [usize; GROUP];
    fn activations(order: Order, x: Group) -> Group;
    fn nibbles(s: Simd128<Self>, q: &[u8; GROUP / 2]) -> [v128; 4];
    fn bits(s: Simd128<Self>, q: &[u8; GROUP / 8]) -> [v128; 4];
    /// Of weights that are not negative.
    fn dot(w: [v128; 4], x: &Group) -> v128;
}

/// A browser. Its constants are hidden from the compiler, which would write them anew wherever they are used; browsers make
/// some instructions of each.
#[derive(Clone, Copy)]
pub struct Simd128<D> {
    /// Bytes of 1.
    ones: v128,
    /// Of sixteen bytes, the one bit that each is about.
    bits: v128,
    /// And which byte has it: 0 or 1, and for the second sixteen 2 or 3.
    places: [v128; 2],
    /// Of a sign and what is behind it, widened, what there is of an f16.
    half: v128,
    /// [`Dots::LOWEST`]
    lowest: v128,
    dots: PhantomData<D>,
}

/// 0, 1, 2, …
const IN_ORDER: [usize; GROUP] = {
    let mut order = [0; GROUP];
    let mut i = 0;
    while i < GROUP {
        order[i] = i;
        i += 1;
    }
    order
};

/// Sixteen bytes, one by one.
#[inline(always)]
fn vector(of: impl Fn(usize) -> u8) -> v128 {
    let bytes: [u8; 16] = std::array::from_fn(of);
    sixteen(&bytes, 0)
}

/// Words `8 · i ..` of a group.
#[inline(always)]
fn eight(x: &Group, i: usize) -> v128 {
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
    let dot = |i: usize| i32x4_dot_i16x8(w[i], eight(x, i));
    i32x4_add(i32x4_add(dot(0), dot(1)), i32x4_add(dot(2), dot(3)))
}

/// Signed bytes as words.
#[inline(always)]
fn widened([first, second]: [v128; 2]) -> [v128; 4] {
    [
        i16x8_extend_low_i8x16(first),
        i16x8_extend_high_i8x16(first),
        i16x8_extend_low_i8x16(second),
        i16x8_extend_high_i8x16(second),
    ]
}

impl<D> Simd128<D> {
    /// A byte for each bit: 1 where it is set, otherwise 0.
    #[inline(always)]
    fn spread(self, q: &[u8; GROUP / 8]) -> [v128; 2] {
        let bytes = u32x4_splat(u32::from_le_bytes(*q));
        let byte = |places| u8x16_min(v128_and(u8x16_swizzle(bytes, places), self.bits), self.ones);
        self.places.map(byte)
    }

    /// Finite f16 numbers, widened with their signs to 32 bits.
    #[inline(always)]
    fn floats(self, halves: v128) -> v128 {
        // As `formats::widen`: behind the sign, which stands in all upper bits, three are to go, and then what is shifted.
        let bits = v128_and(i32x4_shl(halves, 13), self.half);
        f32x4_mul(bits, f32x4_splat(f32::from_bits((127 + 112) << 23)))
    }
}

impl<D: Dots> Simd for Simd128<D> {
    /// Words; or bytes, twice.
    type Weights = [v128; 4];
    type Sums = v128;
    type Eight = [v128; 2];
    type Total = v128;
    type Scales = [v128; 2];

    #[inline(never)]
    fn apart(work: impl Work) {
        work.run::<Self>();
    }

    #[inline(always)]
    fn new() -> Self {
        Self {
            ones: black_box(u8x16_splat(1)),
            bits: black_box(vector(|i| 1 << (D::BITS[i] % 8))),
            places: [0, 16].map(|from| black_box(vector(|i| (D::BITS[from + i] / 8) as u8))),
            half: black_box(u32x4_splat(0x8FFF_E000)),
            lowest: black_box(D::LOWEST),
            dots: PhantomData,
        }
    }

    #[inline(always)]
    fn zero() -> v128 {
        f32x4_splat(0.0)
    }

    #[inline(always)]
    fn activations(order: Order, x: Group) -> Group {
        D::activations(order, x)
    }

    #[inline(always)]
    fn nibbles(self, q: &[u8; GROUP / 2]) -> [v128; 4] {
        D::nibbles(self, q)
    }

    #[inline(always)]
    fn bytes(self, q: &[u8; GROUP]) -> [v128; 4] {
        widened([sixteen(q, 0), sixteen(q, 1)])
    }

    #[inline(always)]
    fn bits(self, q: &[u8; GROUP / 8]) -> [v128; 4] {
        D::bits(self, q)
    }

    #[inline(always)]
    fn store(w: [v128; 4]) -> Group {
        let mut group = [0; GROUP];
        for (eight, w) in group.as_chunks_mut::<8>().0.iter_mut().zip(w) {
            // SAFETY: eight words are the sixteen bytes that are written, at any alignment.
            unsafe { v128_store(eight.as_mut_ptr().cast(), w) };
        }
        group
    }

    #[inline(always)]
    fn load(w: &Group) -> [v128; 4] {
        std::array::from_fn(|i| eight(w, i))
    }

    #[inline(always)]
    fn dot<const SIGNED: bool>(w: [v128; 4], x: &Group) -> v128 {
        if SIGNED { dot4(w, x) } else { D::dot(w, x) }
    }

    #[inline(always)]
    fn eight() -> [v128; 2] {
        [i32x4_splat(0); 2]
    }

    #[inline(always)]
    fn add_pairs(sums: [v128; 2], x: &Pair, m: &Pairs) -> [v128; 2] {
        let m = m.as_chunks::<4>().0;
        // SAFETY: a pair is the four bytes, and four are the sixteen that are read, at any alignment.
        unsafe {
            let x = v128_load32_splat(x.as_ptr().cast());
            let add =
                |i: usize| i32x4_add(sums[i], i32x4_dot_i16x8(v128_load(m[i].as_ptr().cast()), x));
            [add(0), add(1)]
        }
    }

    #[inline(always)]
    fn floats(sums: [v128; 2]) -> [f32; HALVES] {
        Self::lanes(sums.map(|sums| f32x4_convert_i32x4(sums)))
    }

    #[inline(always)]
    fn add(total: v128, sums: v128, scale: f32) -> v128 {
        let product = f32x4_mul(f32x4_convert_i32x4(sums), f32x4_splat(scale));
        f32x4_add(total, product)
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
    fn scales(self, halves: &Halves, x: &[f32; HALVES]) -> [v128; 2] {
        let halves = sixteen(halves, 0);
        [
            f32x4_mul(self.floats(i32x4_extend_low_i16x8(halves)), four(x, 0)),
            f32x4_mul(self.floats(i32x4_extend_high_i16x8(halves)), four(x, 1)),
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
