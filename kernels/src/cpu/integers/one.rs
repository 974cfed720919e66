//! One token: weights are multiplied as they are packed. All that is done per row is inlined into a function that may
//! use the level's instructions.
//!
//! Two rows go side by side, one from the first half of those that are wanted and one from the second: memory brings
//! two streams sooner than one of the same length, and what is read of `x` serves both.

use super::{Group, HALVES, Halves, Packed, Quants, Simd, Token, scale_of};
use crate::formats::GROUP;
use std::ops::Range;

/// Which two of `n` rows go side by side: `n.div_ceil(2)` passes meet all of them, the last one maybe twice.
#[inline(always)]
fn beside(pass: usize, n: usize) -> [usize; 2] {
    [pass, (n.div_ceil(2) + pass).min(n - 1)]
}

/// A row's groups of `BYTES`, `N` at a time and what is left, and their scales.
#[inline(always)]
#[expect(clippy::type_complexity, reason = "three slices of one row")]
fn parts<const BYTES: usize, const N: usize>(
    w: &Packed,
    row: usize,
) -> (&[[[u8; BYTES]; N]], &[[u8; BYTES]], &[Halves]) {
    let (quants, rest) = w.row(row).quants.as_chunks().0.as_chunks();
    (quants, rest, w.scales(row, quants.len() + 1))
}

/// Groups whose `d` and `m` are widened at once.
const PAIRS: usize = HALVES / 2;

/// One token and rows with `d` and `m` for each group.
#[inline(always)]
pub fn by_pairs<S: Simd>(s: S, w: &Packed, rows: Range<usize>, x: Token<'_>, y: &mut [f32]) {
    let groups = x.groups.as_chunks().0;
    let pairs = x.pairs.as_flattened().as_chunks().0;
    let n = w.cols / GROUP / PAIRS;
    for pass in 0..y.len().div_ceil(2) {
        let [a, b] = beside(pass, y.len());
        let (quants_a, rest_a, scales_a) = parts(w, rows.start + a);
        let (quants_b, rest_b, scales_b) = parts(w, rows.start + b);
        let (mut sum_a, mut sum_b) = (PairSum::zero(s), PairSum::zero(s));
        let quants = quants_a.iter().zip(quants_b);
        let scales = scales_a.iter().zip(scales_b);
        for (((q, halves), x), pairs) in quants.zip(scales).zip(groups).zip(pairs) {
            sum_a.add(q.0, halves.0, x, pairs);
            sum_b.add(q.1, halves.1, x, pairs);
        }
        if !rest_a.is_empty() {
            sum_a.add_rest(rest_a, &scales_a[n], &groups[n], &pairs[n]);
            sum_b.add_rest(rest_b, &scales_b[n], &groups[n], &pairs[n]);
        }
        (y[a], y[b]) = (sum_a.all(), sum_b.all());
    }
}

/// A row's product so far.
struct PairSum<S: Simd> {
    s: S,
    /// `Σ d · q · x`
    total: S::Total,
    /// Every other one is the sum of `m · Σ x`.
    sums: S::Scales,
}

impl<S: Simd> PairSum<S> {
    #[inline(always)]
    fn zero(s: S) -> Self {
        Self {
            s,
            total: S::zero(),
            sums: s.scales(&[0; 2 * HALVES], &[0.0; HALVES]),
        }
    }

    #[inline(always)]
    fn add(
        &mut self,
        q: &[[u8; GROUP / 2]; PAIRS],
        halves: &Halves,
        x: &[Group; PAIRS],
        pairs: &[f32; HALVES],
    ) {
        S::fetch_ahead(q);
        let scales = self.s.scales(halves, pairs);
        self.sums = S::both(self.sums, scales);
        self.total = S::add_by::<0>(self.total, q[0].dot(self.s, &x[0]), scales);
        self.total = S::add_by::<2>(self.total, q[1].dot(self.s, &x[1]), scales);
        self.total = S::add_by::<4>(self.total, q[2].dot(self.s, &x[2]), scales);
        self.total = S::add_by::<6>(self.total, q[3].dot(self.s, &x[3]), scales);
    }

    /// Fewer groups, one at least; `pairs` of more are zeros.
    #[inline(always)]
    fn add_rest(
        &mut self,
        q: &[[u8; GROUP / 2]],
        halves: &Halves,
        x: &[Group; PAIRS],
        pairs: &[f32; HALVES],
    ) {
        let scales = self.s.scales(halves, pairs);
        self.sums = S::both(self.sums, scales);
        self.total = S::add_by::<0>(self.total, q[0].dot(self.s, &x[0]), scales);
        if q.len() > 1 {
            self.total = S::add_by::<2>(self.total, q[1].dot(self.s, &x[1]), scales);
        }
        if q.len() > 2 {
            self.total = S::add_by::<4>(self.total, q[2].dot(self.s, &x[2]), scales);
        }
    }

    #[inline(always)]
    fn all(self) -> f32 {
        let [_, a, _, b, _, c, _, d] = S::lanes(self.sums);
        S::sum(self.total) + (a + b) + (c + d)
    }
}

/// One token and rows with `d` for each group.
#[inline(always)]
pub fn by_groups<S: Simd>(s: S, w: &Packed, rows: Range<usize>, x: Token<'_>, y: &mut [f32]) {
    let groups = x.groups.as_chunks().0;
    let steps = x.scales.as_chunks().0;
    let n = w.cols / GROUP / HALVES;
    for pass in 0..y.len().div_ceil(2) {
        let [a, b] = beside(pass, y.len());
        let (quants_a, rest_a, scales_a) = parts(w, rows.start + a);
        let (quants_b, rest_b, scales_b) = parts(w, rows.start + b);
        let (mut total_a, mut total_b) = (S::zero(), S::zero());
        let quants = quants_a.iter().zip(quants_b);
        let scales = scales_a.iter().zip(scales_b);
        for (((q, halves), x), steps) in quants.zip(scales).zip(groups).zip(steps) {
            total_a = add_eight(s, total_a, q.0, halves.0, x, steps);
            total_b = add_eight(s, total_b, q.1, halves.1, x, steps);
        }
        if !rest_a.is_empty() {
            total_a = add_rest(s, total_a, rest_a, &scales_a[n], &groups[n], &steps[n]);
            total_b = add_rest(s, total_b, rest_b, &scales_b[n], &groups[n], &steps[n]);
        }
        (y[a], y[b]) = (S::sum(total_a), S::sum(total_b));
    }
}

#[inline(always)]
fn add_eight<S: Simd>(
    s: S,
    mut total: S::Total,
    q: &[[u8; GROUP]; HALVES],
    halves: &Halves,
    x: &[Group; HALVES],
    steps: &[f32; HALVES],
) -> S::Total {
    for bytes in q.as_flattened().as_chunks::<64>().0 {
        S::fetch_ahead(bytes);
    }
    let scales = s.scales(halves, steps);
    total = S::add_by::<0>(total, q[0].dot(s, &x[0]), scales);
    total = S::add_by::<1>(total, q[1].dot(s, &x[1]), scales);
    total = S::add_by::<2>(total, q[2].dot(s, &x[2]), scales);
    total = S::add_by::<3>(total, q[3].dot(s, &x[3]), scales);
    total = S::add_by::<4>(total, q[4].dot(s, &x[4]), scales);
    total = S::add_by::<5>(total, q[5].dot(s, &x[5]), scales);
    total = S::add_by::<6>(total, q[6].dot(s, &x[6]), scales);
    S::add_by::<7>(total, q[7].dot(s, &x[7]), scales)
}

/// Fewer groups.
#[inline(always)]
fn add_rest<S: Simd>(
    s: S,
    mut total: S::Total,
    q: &[[u8; GROUP]],
    halves: &Halves,
    x: &[Group; HALVES],
    steps: &[f32; HALVES],
) -> S::Total {
    let scales = S::lanes(s.scales(halves, steps));
    for ((q, x), scale) in q.iter().zip(x).zip(scales) {
        total = S::add(total, q.dot(s, x), scale);
    }
    total
}

/// One token and rows that have one `d`, of groups of `BYTES`, whose numbers `q` mean `factor · q + offset`.
#[inline(always)]
pub fn by_rows<S: Simd, const BYTES: usize>(
    s: S,
    w: &Packed,
    rows: Range<usize>,
    x: Token<'_>,
    [factor, offset]: [f32; 2],
    y: &mut [f32],
) where
    [u8; BYTES]: Quants,
{
    let offset = offset * x.sums.iter().sum::<f32>();
    for pass in 0..y.len().div_ceil(2) {
        let [a, b] = beside(pass, y.len());
        let (row_a, row_b) = (w.row(rows.start + a), w.row(rows.start + b));
        let quants_a = row_a.quants.as_chunks::<BYTES>().0;
        let quants_b = row_b.quants.as_chunks::<BYTES>().0;
        let (mut total_a, mut total_b) = (S::zero(), S::zero());
        for (((qa, qb), x), step) in quants_a.iter().zip(quants_b).zip(x.groups).zip(x.scales) {
            total_a = S::add(total_a, qa.dot(s, x), *step);
            total_b = S::add(total_b, qb.dot(s, x), *step);
        }
        y[a] = scale_of(row_a) * (factor * S::sum(total_a) + offset);
        y[b] = scale_of(row_b) * (factor * S::sum(total_b) + offset);
    }
}
