//! Nibbles with an f16 scale and an f16 minimum per group of 32: `w = d·q + m`.
//!
//! `quants[cols / 32, 16]`: byte `b` of a group holds weight `b` in its low and weight `16 + b` in its
//! high nibble. `scales[cols / 32]` (f16 `d`, f16 `m`).

use super::{GROUP, LANES, Row, f16::widen};

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

fn scale(row: Row<'_>, g: usize) -> (f32, f32) {
    let s = &row.scales[4 * g..][..4];
    (widen([s[0], s[1]]), widen([s[2], s[3]]))
}
