//! Nibbles with one f16 scale per row: `w = d·(q − 8)`.
//!
//! `quants[cols / 32, 16]` as in [`q4`](super::q4). `scales[1]` f16 `d`.

use super::{GROUP, LANES, Row, f16::widen};

const HALF: usize = GROUP / 2;
const OFFSET: f32 = 8.0;

/// `[cols]` weights.
pub fn unpack(row: Row<'_>, out: &mut [f32]) {
    let d = scale(row);
    for (q, out) in groups(row).zip(out.as_chunks_mut::<GROUP>().0) {
        let (low, high) = out.split_at_mut(HALF);
        for b in 0..HALF {
            low[b] = d * (f32::from(q[b] & 15) - OFFSET);
            high[b] = d * (f32::from(q[b] >> 4) - OFFSET);
        }
    }
}

/// `Σ w·x = d·Σ (q − 8)·x`.
pub fn dot(row: Row<'_>, x: &[f32]) -> f32 {
    let mut sum = [0.0; LANES];
    for (q, x) in groups(row).zip(x.as_chunks::<GROUP>().0) {
        for i in (0..HALF).step_by(LANES) {
            for lane in 0..LANES {
                let q = q[i + lane];
                sum[lane] += (f32::from(q & 15) - OFFSET) * x[i + lane];
                sum[lane] += (f32::from(q >> 4) - OFFSET) * x[HALF + i + lane];
            }
        }
    }
    scale(row) * sum.iter().sum::<f32>()
}

fn groups(row: Row<'_>) -> impl Iterator<Item = &[u8; HALF]> {
    row.quants.as_chunks::<HALF>().0.iter()
}

fn scale(row: Row<'_>) -> f32 {
    widen([row.scales[0], row.scales[1]])
}
