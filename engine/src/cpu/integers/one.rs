//! One token: weights are multiplied as they are packed. All that is done per row is inlined into a function that may
//! use the level's instructions.

use super::{HALVES, Packed, Quants, Simd, Token, scale_of};
use crate::formats::GROUP;
use std::ops::Range;

/// One token and rows with `d` and `m` for each group.
#[inline(always)]
pub fn by_pairs<S: Simd>(w: &Packed, rows: Range<usize>, x: Token<'_>, y: &mut [f32]) {
    const PAIRS: usize = HALVES / 2;
    let groups = x.groups.as_chunks::<PAIRS>().0;
    let pairs = x.pairs.as_flattened().as_chunks::<HALVES>().0;
    for (row, y) in rows.zip(y) {
        let quants = w.row(row).quants.as_chunks::<{ GROUP / 2 }>().0;
        let (quants, last_quants) = quants.as_chunks::<PAIRS>();
        let scales = w.scales(row, quants.len() + 1);
        let mut total = S::zero();
        // Every other one is the sum of `m · Σ x`.
        let mut sums = S::scales(&[0; 2 * HALVES], &[0.0; HALVES]);
        for (((q, halves), x), pairs) in quants.iter().zip(scales).zip(groups).zip(pairs) {
            S::fetch_ahead(q.as_flattened().first_chunk().expect("64 bytes"));
            let scales = S::scales(halves, pairs);
            sums = S::both(sums, scales);
            total = S::add_by::<0>(total, S::nibbles(&q[0], &x[0]), scales);
            total = S::add_by::<2>(total, S::nibbles(&q[1], &x[1]), scales);
            total = S::add_by::<4>(total, S::nibbles(&q[2], &x[2]), scales);
            total = S::add_by::<6>(total, S::nibbles(&q[3], &x[3]), scales);
        }
        if !last_quants.is_empty() {
            let i = quants.len();
            let scales = S::scales(&scales[i], &pairs[i]);
            sums = S::both(sums, scales);
            let scales = S::lanes(scales);
            for ((q, x), scale) in last_quants
                .iter()
                .zip(&groups[i])
                .zip(scales.iter().step_by(2))
            {
                total = S::add(total, S::nibbles(q, x), *scale);
            }
        }
        let [_, a, _, b, _, c, _, d] = S::lanes(sums);
        *y = S::sum(total) + (a + b) + (c + d);
    }
}

/// One token and rows with `d` for each group.
#[inline(always)]
pub fn by_groups<S: Simd>(w: &Packed, rows: Range<usize>, x: Token<'_>, y: &mut [f32]) {
    let groups = x.groups.as_chunks::<HALVES>().0;
    let steps = x.scales.as_chunks::<HALVES>().0;
    for (row, y) in rows.zip(y) {
        let quants = w.row(row).quants.as_chunks::<GROUP>().0;
        let (quants, last_quants) = quants.as_chunks::<HALVES>();
        let scales = w.scales(row, quants.len() + 1);
        let mut total = S::zero();
        for (((q, halves), x), steps) in quants.iter().zip(scales).zip(groups).zip(steps) {
            for bytes in q.as_flattened().as_chunks().0 {
                S::fetch_ahead(bytes);
            }
            let scales = S::scales(halves, steps);
            total = S::add_by::<0>(total, S::bytes(&q[0], &x[0]), scales);
            total = S::add_by::<1>(total, S::bytes(&q[1], &x[1]), scales);
            total = S::add_by::<2>(total, S::bytes(&q[2], &x[2]), scales);
            total = S::add_by::<3>(total, S::bytes(&q[3], &x[3]), scales);
            total = S::add_by::<4>(total, S::bytes(&q[4], &x[4]), scales);
            total = S::add_by::<5>(total, S::bytes(&q[5], &x[5]), scales);
            total = S::add_by::<6>(total, S::bytes(&q[6], &x[6]), scales);
            total = S::add_by::<7>(total, S::bytes(&q[7], &x[7]), scales);
        }
        if !last_quants.is_empty() {
            let i = quants.len();
            let scales = S::lanes(S::scales(&scales[i], &steps[i]));
            for ((q, x), scale) in last_quants.iter().zip(&groups[i]).zip(scales) {
                total = S::add(total, S::bytes(q, x), scale);
            }
        }
        *y = S::sum(total);
    }
}

/// One token and rows that have one `d`, of groups of `BYTES`; `offset` is added to each of their numbers.
#[inline(always)]
pub fn by_rows<S: Simd, const BYTES: usize>(
    w: &Packed,
    rows: Range<usize>,
    x: Token<'_>,
    offset: f32,
    y: &mut [f32],
) where
    [u8; BYTES]: Quants,
{
    let offset = offset * x.sums.iter().sum::<f32>();
    for (row, y) in rows.zip(y) {
        let row = w.row(row);
        let mut total = S::zero();
        let quants = row.quants.as_chunks::<BYTES>().0;
        for ((q, x), step) in quants.iter().zip(x.groups).zip(x.scales) {
            total = S::add(total, q.dot::<S>(x), *step);
        }
        *y = scale_of(row) * (S::sum(total) + offset);
    }
}
