//! Nibbles with an f16 scale and an f16 minimum per group of 32: `w = d·q + m`.
//!
//! `quants[cols / 32, 16]`: byte `b` of a group holds weight `b` in its low and weight `16 + b` in its
//! high nibble. `scales[cols / 32]` (f16 `d`, f16 `m`).

use super::{GROUP, LANES, Row, f16::widen};
use half::f16;

const HALF: usize = GROUP / 2;

/// `[cols]` weights.
pub fn unpack(row: Row<'_>, out: &mut [f32]) {
    for (g, out) in out.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
        let (d, m) = scale(row, g);
        let q = &row.quants[g * HALF..][..HALF];
        let (low, high) = out.split_at_mut(HALF);
        for b in 0..HALF {
            low[b] = d * f32::from(q[b] & 15) + m;
            high[b] = d * f32::from(q[b] >> 4) + m;
        }
    }
}

/// `Σ w·x = Σ_g d·Σ q·x + m·Σ x`; the inner sums of `x` are shared by all rows and come in `group_sums`.
pub fn dot(row: Row<'_>, x: &[f32], group_sums: &[f32]) -> f32 {
    let mut total = [0.0; LANES];
    let mut minima = 0.0;
    for (g, x) in x.as_chunks::<GROUP>().0.iter().enumerate() {
        let q = &row.quants[g * HALF..][..HALF];
        let mut sum = [0.0; LANES];
        for i in (0..HALF).step_by(LANES) {
            for lane in 0..LANES {
                let q = q[i + lane];
                sum[lane] += f32::from(q & 15) * x[i + lane];
                sum[lane] += f32::from(q >> 4) * x[HALF + i + lane];
            }
        }
        let (d, m) = scale(row, g);
        minima += m * group_sums[g];
        for lane in 0..LANES {
            total[lane] += d * sum[lane];
        }
    }
    total.iter().sum::<f32>() + minima
}

/// 16 steps from the group's smallest to its largest weight, moved once to where the squared error is
/// least for the nibbles that were chosen (a line fitted through `(q, w)`).
pub fn pack(group: &[f32; GROUP], quants: &mut Vec<u8>, scales: &mut Vec<u8>) {
    let (min, max) = group
        .iter()
        .fold((f32::MAX, f32::MIN), |(a, b), w| (a.min(*w), b.max(*w)));
    let first = (max - min) / 15.0;
    let q = nearest(group, first, min);
    let (d, m) = fit(group, &q).unwrap_or((first, min));
    let (fitted, plain) = ((rounded(d), rounded(m)), (rounded(first), rounded(min)));
    let (with_fit, without) = (
        nearest(group, fitted.0, fitted.1),
        nearest(group, plain.0, plain.1),
    );
    let better = error(group, &with_fit, fitted) < error(group, &without, plain);
    let (q, (d, m)) = if better {
        (with_fit, fitted)
    } else {
        (without, plain)
    };
    scales.extend(f16::from_f32(d).to_le_bytes());
    scales.extend(f16::from_f32(m).to_le_bytes());
    quants.extend((0..HALF).map(|b| q[b] | q[HALF + b] << 4));
}

fn rounded(value: f32) -> f32 {
    f16::from_f32(value).to_f32()
}

fn nearest(group: &[f32; GROUP], d: f32, m: f32) -> [u8; GROUP] {
    let inverse = if d == 0.0 { 0.0 } else { d.recip() };
    group.map(|w| ((w - m) * inverse).round().clamp(0.0, 15.0) as u8)
}

/// Least squares of `w = d·q + m`; none where all `q` are equal.
fn fit(group: &[f32; GROUP], q: &[u8; GROUP]) -> Option<(f32, f32)> {
    let n = GROUP as f32;
    let mean_q = q.iter().map(|&q| f32::from(q)).sum::<f32>() / n;
    let mean_w = group.iter().sum::<f32>() / n;
    let (mut covariance, mut variance) = (0.0, 0.0);
    for (w, q) in group.iter().zip(q) {
        let q = f32::from(*q) - mean_q;
        covariance += (w - mean_w) * q;
        variance += q * q;
    }
    (variance > 0.0).then(|| {
        let d = covariance / variance;
        (d, mean_w - d * mean_q)
    })
}

fn error(group: &[f32; GROUP], q: &[u8; GROUP], (d, m): (f32, f32)) -> f32 {
    let of = |(w, q): (&f32, &u8)| (d * f32::from(*q) + m - w).powi(2);
    group.iter().zip(q).map(of).sum()
}

fn scale(row: Row<'_>, g: usize) -> (f32, f32) {
    let s = &row.scales[4 * g..][..4];
    (widen([s[0], s[1]]), widen([s[2], s[3]]))
}
