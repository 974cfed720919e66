//! x86's 256-bit SIMD: `vpmaddwd` multiplies sixteen words and adds them in pairs.
#![expect(unsafe_code, reason = "instructions that not every machine has")]

use super::{Group, HALVES, Halves, Held, Integers, Order, Packed, Pair, Pairs, Simd, Work};
use crate::formats::GROUP;
use core::arch::x86_64::*;
use std::ops::Range;

/// [`Integers::multiply`] on a machine with AVX2, FMA and F16C.
pub fn multiply(
    x: &mut Integers,
    w: &Packed,
    rows: Range<usize>,
    places: &[(usize, usize)],
    y: &mut [f32],
) {
    #[target_feature(enable = "avx2,fma,f16c")]
    fn with_avx2(
        x: &mut Integers,
        w: &Packed,
        rows: Range<usize>,
        places: &[(usize, usize)],
        y: &mut [f32],
    ) {
        super::multiply::<Avx2>(x, w, rows, places, y);
    }
    // SAFETY: `Level::detect` found them.
    unsafe { with_avx2(x, w, rows, places, y) }
}

/// [`Integers::hold`] on such a machine.
pub fn hold(held: &mut Held, order: Order, x: &[f32], cols: usize) {
    #[target_feature(enable = "avx2,fma,f16c")]
    fn with_avx2(held: &mut Held, order: Order, x: &[f32], cols: usize) {
        held.fill::<Avx2>(order, x, cols);
    }
    // SAFETY: `Level::detect` found them.
    unsafe { with_avx2(held, order, x, cols) }
}

/// [`Work`] on such a machine.
pub fn run(work: impl Work) {
    #[target_feature(enable = "avx2,fma,f16c")]
    fn with_avx2(work: impl Work) {
        work.run::<Avx2>();
    }
    // SAFETY: `Level::detect` found them.
    unsafe { with_avx2(work) }
}

/// Its methods run only within [`multiply`] and [`hold`], and are inlined there: that is what makes each `unsafe` below sound.
#[derive(Clone, Copy)]
struct Avx2;

/// Words `16 · i ..` of a group.
#[inline(always)]
fn words(x: &Group, i: usize) -> __m256i {
    let sixteen = &x.as_chunks::<16>().0[i];
    // SAFETY: sixteen words are the 32 bytes that are read, at any alignment.
    unsafe { _mm256_loadu_si256(sixteen.as_ptr().cast()) }
}

#[inline(always)]
fn sixteen(q: &[u8], i: usize) -> __m128i {
    let sixteen = &q.as_chunks::<16>().0[i];
    // SAFETY: sixteen bytes are read, at any alignment.
    unsafe { _mm_loadu_si128(sixteen.as_ptr().cast()) }
}

impl Simd for Avx2 {
    type Weights = [__m256i; 2];
    type Sums = __m256i;
    type Eight = __m256i;
    type Total = __m256;
    type Scales = __m256;

    #[inline(always)]
    fn new() -> Self {
        Self
    }

    #[inline(always)]
    fn zero() -> __m256 {
        // SAFETY: see `Avx2`.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    fn nibbles(self, q: &[u8; GROUP / 2]) -> [__m256i; 2] {
        let q = sixteen(q, 0);
        // SAFETY: see `Avx2`.
        unsafe {
            let words = _mm256_cvtepu8_epi16(q);
            [
                _mm256_and_si256(words, _mm256_set1_epi16(15)),
                _mm256_srli_epi16::<4>(words),
            ]
        }
    }

    #[inline(always)]
    fn bytes(self, q: &[u8; GROUP]) -> [__m256i; 2] {
        // SAFETY: see `Avx2`.
        [0, 1].map(|i| unsafe { _mm256_cvtepi8_epi16(sixteen(q, i)) })
    }

    #[inline(always)]
    fn bits(self, q: &[u8; GROUP / 8]) -> [__m256i; 2] {
        // SAFETY: see `Avx2`.
        let spread = |i: usize| unsafe {
            let bits = _mm256_setr_epi16(
                1,
                2,
                4,
                8,
                16,
                32,
                64,
                128,
                256,
                512,
                1024,
                2048,
                4096,
                8192,
                16384,
                i16::MIN,
            );
            let word = _mm256_set1_epi16(i16::from_le_bytes([q[2 * i], q[2 * i + 1]]));
            // All bits where the one is set, and of them the lowest.
            let set = _mm256_cmpeq_epi16(_mm256_and_si256(word, bits), bits);
            _mm256_srli_epi16::<15>(set)
        };
        [spread(0), spread(1)]
    }

    #[inline(always)]
    fn store(w: [__m256i; 2]) -> Group {
        bytemuck::cast(w)
    }

    #[inline(always)]
    fn load(w: &Group) -> [__m256i; 2] {
        [words(w, 0), words(w, 1)]
    }

    #[inline(always)]
    fn dot<const SIGNED: bool>([first, second]: [__m256i; 2], x: &Group) -> __m256i {
        // SAFETY: see `Avx2`.
        unsafe {
            _mm256_add_epi32(
                _mm256_madd_epi16(first, words(x, 0)),
                _mm256_madd_epi16(second, words(x, 1)),
            )
        }
    }

    #[inline(always)]
    fn eight() -> __m256i {
        // SAFETY: see `Avx2`.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn add_pairs(sums: __m256i, x: &Pair, m: &Pairs) -> __m256i {
        // SAFETY: see `Avx2`; eight pairs are the 32 bytes that are read, at any alignment.
        unsafe {
            let x = _mm256_set1_epi32(bytemuck::cast(*x));
            let m = _mm256_loadu_si256(m.as_ptr().cast());
            _mm256_add_epi32(sums, _mm256_madd_epi16(m, x))
        }
    }

    #[inline(always)]
    fn floats(sums: __m256i) -> [f32; HALVES] {
        // SAFETY: see `Avx2`.
        Self::lanes(unsafe { _mm256_cvtepi32_ps(sums) })
    }

    #[inline(always)]
    fn add(total: __m256, sums: __m256i, scale: f32) -> __m256 {
        // SAFETY: see `Avx2`.
        unsafe { _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(scale), total) }
    }

    #[inline(always)]
    fn add_floats(total: __m256, a: &[f32; HALVES], b: &[f32; HALVES]) -> __m256 {
        // SAFETY: see `Avx2`; eight floats are the 32 bytes that are read, at any alignment.
        unsafe {
            _mm256_fmadd_ps(
                _mm256_loadu_ps(a.as_ptr()),
                _mm256_loadu_ps(b.as_ptr()),
                total,
            )
        }
    }

    #[inline(always)]
    fn sum(total: __m256) -> f32 {
        // SAFETY: see `Avx2`.
        unsafe {
            let four = _mm_add_ps(
                _mm256_castps256_ps128(total),
                _mm256_extractf128_ps::<1>(total),
            );
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }

    #[inline(always)]
    fn add_by<const LANE: usize>(total: __m256, sums: __m256i, scales: __m256) -> __m256 {
        // SAFETY: see `Avx2`.
        unsafe {
            let scale = _mm256_permutevar8x32_ps(scales, _mm256_set1_epi32(LANE as i32));
            _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), scale, total)
        }
    }

    #[inline(always)]
    fn scales(self, halves: &Halves, x: &[f32; HALVES]) -> __m256 {
        // SAFETY: see `Avx2`; eight floats are the 32 bytes that are read, at any alignment.
        unsafe {
            let halves = _mm256_cvtph_ps(sixteen(halves, 0));
            _mm256_mul_ps(halves, _mm256_loadu_ps(x.as_ptr()))
        }
    }

    #[inline(always)]
    fn both(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see `Avx2`.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn lanes(scales: __m256) -> [f32; HALVES] {
        let mut lanes = [0.0; HALVES];
        // SAFETY: see `Avx2`; eight floats are the 32 bytes that are written, at any alignment.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), scales) };
        lanes
    }

    #[inline(always)]
    fn fetch_ahead<T>(bytes: &T) {
        /// Bytes: enough to hide main memory's delay, by trial.
        const DISTANCE: usize = 8192;
        let ahead = std::ptr::from_ref(bytes)
            .cast::<i8>()
            .wrapping_add(DISTANCE);
        // SAFETY: a hint, which reads nothing; any address will do.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead) };
    }
}
