//! Signed bytes with one f16 scale per group of 32: `w = d·q`.
//!
//! `quants[cols]` i8, `scales[cols / 32]` f16.

use super::{GROUP, LANES, Row, f16::widen};
use half::f16;

/// `[cols]` weights.
pub fn unpack(row: Row<'_>, out: &mut [f32]) {
    for (g, out) in out.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
        let d = scale(row, g);
        let q = &row.quants[g * GROUP..][..GROUP];
        for (o, &q) in out.iter_mut().zip(q) {
            *o = d * f32::from(q as i8);
        }
    }
}

/// `Σ w·x`, the scale applied once per group.
pub fn dot(row: Row<'_>, x: &[f32]) -> f32 {
    let mut total = [0.0; LANES];
    for (g, x) in x.as_chunks::<GROUP>().0.iter().enumerate() {
        let q = &row.quants[g * GROUP..][..GROUP];
        let mut sum = [0.0; LANES];
        for i in (0..GROUP).step_by(LANES) {
            for lane in 0..LANES {
                sum[lane] += f32::from(q[i + lane] as i8) * x[i + lane];
            }
        }
        let d = scale(row, g);
        for lane in 0..LANES {
            total[lane] += d * sum[lane];
        }
    }
    total.iter().sum()
}

/// The nearest of 255 steps to the group's largest weight.
pub fn pack(group: &[f32; GROUP], quants: &mut Vec<u8>, scales: &mut Vec<u8>) {
    let largest = group.iter().fold(0f32, |m, w| m.max(w.abs()));
    let d = f16::from_f32(largest / 127.0);
    let inverse = if d == f16::ZERO {
        0.0
    } else {
        d.to_f32().recip()
    };
    scales.extend(d.to_le_bytes());
    quants.extend(group.map(|w| (w * inverse).round().clamp(-127.0, 127.0) as i8 as u8));
}

fn scale(row: Row<'_>, g: usize) -> f32 {
    widen([row.scales[2 * g], row.scales[2 * g + 1]])
}
