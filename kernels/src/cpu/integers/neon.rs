//! ARM's 128-bit SIMD. `sdot`, which machines have since about 2018, multiplies sixteen bytes and adds them in fours; an
//! activation is two of them. Older ones take four instructions for it.
#![expect(unsafe_code, reason = "instructions that not every machine has")]

use super::{Group, HALVES, Halves, Integers, Order, Packed, Pair, Pairs, Simd, Work, bytes};
use crate::formats::GROUP;
use core::arch::{aarch64::*, asm};
use std::ops::Range;

/// [`Integers::multiply`] on a machine with `sdot`.
pub fn multiply(
    x: &mut Integers,
    w: &Packed,
    rows: Range<usize>,
    places: &[(usize, usize)],
    y: &mut [f32],
) {
    #[target_feature(enable = "dotprod")]
    fn with_sdot(
        x: &mut Integers,
        w: &Packed,
        rows: Range<usize>,
        places: &[(usize, usize)],
        y: &mut [f32],
    ) {
        super::multiply::<Neon<true>>(x, w, rows, places, y);
    }
    // SAFETY: `Level::detect` found it.
    unsafe { with_sdot(x, w, rows, places, y) }
}

/// [`Work`] on such a machine.
pub fn run(work: impl Work) {
    #[target_feature(enable = "dotprod")]
    fn with_sdot(work: impl Work) {
        work.run::<Neon<true>>();
    }
    // SAFETY: `Level::detect` found it.
    unsafe { with_sdot(work) }
}

/// All of it is a part of 64-bit ARM, but for `sdot`: with `SDOT`, what multiplies runs only within [`multiply`] and [`run`] and
/// is inlined there. That is what makes each `unsafe` below sound.
#[derive(Clone, Copy)]
pub struct Neon<const SDOT: bool>;

/// `sums + Σ w·x` of sixteen bytes.
#[inline(always)]
fn add_products<const SDOT: bool>(mut sums: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: see `Neon`; nothing but these registers is read or written.
    unsafe {
        if SDOT {
            // The compiler's name for it (`vdotq_s32`) is not stable yet.
            asm!(
                "sdot {sums:v}.4s, {w:v}.16b, {x:v}.16b",
                sums = inout(vreg) sums, w = in(vreg) w, x = in(vreg) x,
                options(pure, nomem, nostack, preserves_flags),
            );
            return sums;
        }
        let half = vpadalq_s16(sums, vmull_s8(vget_low_s8(w), vget_low_s8(x)));
        vpadalq_s16(half, vmull_high_s8(w, x))
    }
}

/// Bytes `16 · i ..`
#[inline(always)]
fn sixteen(q: &[u8], i: usize) -> uint8x16_t {
    let sixteen = &q.as_chunks::<16>().0[i];
    // SAFETY: sixteen bytes are read, at any alignment.
    unsafe { vld1q_u8(sixteen.as_ptr()) }
}

#[inline(always)]
fn signed(q: &[u8], i: usize) -> int8x16_t {
    // SAFETY: see `Neon`.
    unsafe { vreinterpretq_s8_u8(sixteen(q, i)) }
}

/// Floats `4 · i ..`
#[inline(always)]
fn four(x: &[f32], i: usize) -> float32x4_t {
    let four = &x.as_chunks::<4>().0[i];
    // SAFETY: four floats are read, at any alignment.
    unsafe { vld1q_f32(four.as_ptr()) }
}

/// Finite f16 numbers that were widened with their signs to 32 bits and shifted by 13.
#[inline(always)]
fn floats(halves: int32x4_t) -> float32x4_t {
    // As `formats::widen`: behind the sign, which stands in all upper bits, three are to go.
    const FACTOR: f32 = f32::from_bits((127 + 112) << 23);
    // SAFETY: see `Neon`.
    unsafe {
        let bits = vandq_u32(vreinterpretq_u32_s32(halves), vdupq_n_u32(0x8FFF_E000));
        vmulq_n_f32(vreinterpretq_f32_u32(bits), FACTOR)
    }
}

impl<const SDOT: bool> Simd for Neon<SDOT> {
    type Weights = [int8x16_t; 2];
    type Sums = int32x4_t;
    type Eight = [int32x4_t; 2];
    type Total = float32x4_t;
    type Scales = [float32x4_t; 2];

    #[inline(always)]
    fn new() -> Self {
        Self
    }

    #[inline(always)]
    fn zero() -> float32x4_t {
        // SAFETY: see `Neon`.
        unsafe { vdupq_n_f32(0.0) }
    }

    #[inline(always)]
    fn activations(_: Order, x: Group) -> Group {
        bytes::activations(x)
    }

    #[inline(always)]
    fn nibbles(self, q: &[u8; GROUP / 2]) -> [int8x16_t; 2] {
        let q = sixteen(q, 0);
        // SAFETY: see `Neon`.
        unsafe {
            [vandq_u8(q, vdupq_n_u8(15)), vshrq_n_u8::<4>(q)].map(|half| vreinterpretq_s8_u8(half))
        }
    }

    #[inline(always)]
    fn bytes(self, q: &[u8; GROUP]) -> [int8x16_t; 2] {
        [signed(q, 0), signed(q, 1)]
    }

    #[inline(always)]
    fn bits(self, q: &[u8; GROUP / 8]) -> [int8x16_t; 2] {
        // SAFETY: see `Neon`.
        let spread = |[first, second]: [u8; 2]| unsafe {
            let all = vreinterpretq_u8_u32(vdupq_n_u32(u32::from_le_bytes(*q)));
            let bits = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
            let places = vcombine_u8(vdup_n_u8(first), vdup_n_u8(second));
            // All bits where the one is set, and of them the lowest.
            let set = vtstq_u8(vqtbl1q_u8(all, places), bits);
            vreinterpretq_s8_u8(vshrq_n_u8::<7>(set))
        };
        [spread([0, 1]), spread([2, 3])]
    }

    /// Into the first half of a group's memory.
    #[inline(always)]
    fn store(w: [int8x16_t; 2]) -> Group {
        let mut group = [0; GROUP];
        let (first, second) = bytemuck::cast_slice_mut(&mut group).split_at_mut(16);
        // SAFETY: see `Neon`; sixteen bytes each are written, at any alignment.
        unsafe {
            vst1q_s8(first.as_mut_ptr(), w[0]);
            vst1q_s8(second.as_mut_ptr(), w[1]);
        }
        group
    }

    #[inline(always)]
    fn load(w: &Group) -> [int8x16_t; 2] {
        let w = bytemuck::bytes_of(w);
        [signed(w, 0), signed(w, 1)]
    }

    #[inline(always)]
    fn dot<const SIGNED: bool>([first, second]: [int8x16_t; 2], x: &Group) -> int32x4_t {
        let x = bytemuck::bytes_of(x);
        let add = |sums, i| {
            let sums = add_products::<SDOT>(sums, first, signed(x, i));
            add_products::<SDOT>(sums, second, signed(x, i + 1))
        };
        // SAFETY: see `Neon`.
        let upper = unsafe { vshlq_n_s32::<8>(add(vdupq_n_s32(0), 0)) };
        add(upper, 2)
    }

    #[inline(always)]
    fn eight() -> [int32x4_t; 2] {
        // SAFETY: see `Neon`.
        unsafe { [vdupq_n_s32(0); 2] }
    }

    #[inline(always)]
    fn add_pairs([low, high]: [int32x4_t; 2], x: &Pair, m: &Pairs) -> [int32x4_t; 2] {
        // SAFETY: see `Neon`; eight pairs are read, at any alignment.
        unsafe {
            let int16x8x2_t(first, second) = vld2q_s16(m.as_ptr().cast());
            let low = vmlal_n_s16(low, vget_low_s16(first), x[0]);
            let high = vmlal_high_n_s16(high, first, x[0]);
            [
                vmlal_n_s16(low, vget_low_s16(second), x[1]),
                vmlal_high_n_s16(high, second, x[1]),
            ]
        }
    }

    #[inline(always)]
    fn floats(sums: [int32x4_t; 2]) -> [f32; HALVES] {
        // SAFETY: see `Neon`.
        Self::lanes(sums.map(|sums| unsafe { vcvtq_f32_s32(sums) }))
    }

    #[inline(always)]
    fn add(total: float32x4_t, sums: int32x4_t, scale: f32) -> float32x4_t {
        // SAFETY: see `Neon`.
        unsafe { vfmaq_n_f32(total, vcvtq_f32_s32(sums), scale) }
    }

    #[inline(always)]
    fn add_by<const LANE: usize>(
        total: float32x4_t,
        sums: int32x4_t,
        scales: [float32x4_t; 2],
    ) -> float32x4_t {
        let four = scales[LANE / 4];
        // SAFETY: see `Neon`.
        unsafe {
            let sums = vcvtq_f32_s32(sums);
            match LANE % 4 {
                0 => vfmaq_laneq_f32::<0>(total, sums, four),
                1 => vfmaq_laneq_f32::<1>(total, sums, four),
                2 => vfmaq_laneq_f32::<2>(total, sums, four),
                _ => vfmaq_laneq_f32::<3>(total, sums, four),
            }
        }
    }

    #[inline(always)]
    fn add_floats(total: float32x4_t, a: &[f32; HALVES], b: &[f32; HALVES]) -> float32x4_t {
        // SAFETY: see `Neon`.
        unsafe {
            let half = vfmaq_f32(total, four(a, 0), four(b, 0));
            vfmaq_f32(half, four(a, 1), four(b, 1))
        }
    }

    #[inline(always)]
    fn sum(total: float32x4_t) -> f32 {
        // SAFETY: see `Neon`.
        unsafe { vaddvq_f32(total) }
    }

    #[inline(always)]
    fn scales(self, halves: &Halves, x: &[f32; HALVES]) -> [float32x4_t; 2] {
        let halves = sixteen(halves, 0);
        // SAFETY: see `Neon`.
        unsafe {
            let halves = vreinterpretq_s16_u8(halves);
            [
                vmulq_f32(floats(vshll_n_s16::<13>(vget_low_s16(halves))), four(x, 0)),
                vmulq_f32(floats(vshll_high_n_s16::<13>(halves)), four(x, 1)),
            ]
        }
    }

    #[inline(always)]
    fn both(a: [float32x4_t; 2], b: [float32x4_t; 2]) -> [float32x4_t; 2] {
        // SAFETY: see `Neon`.
        unsafe { [vaddq_f32(a[0], b[0]), vaddq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    fn lanes(scales: [float32x4_t; 2]) -> [f32; HALVES] {
        let mut lanes = [0.0; HALVES];
        let (first, second) = lanes.split_at_mut(HALVES / 2);
        // SAFETY: four floats each are written, at any alignment.
        unsafe {
            vst1q_f32(first.as_mut_ptr(), scales[0]);
            vst1q_f32(second.as_mut_ptr(), scales[1]);
        }
        lanes
    }
}
