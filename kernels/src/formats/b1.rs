//! Signs with one f16 scale per row: `w = ±d` (Wang et al. 2023, BitNet).
//!
//! `quants[cols / 8]`: bit `i` of a byte is weight `i` of its eight, set for `+d`. `scales[1]` f16 `d`.

use super::{LANES, Row, f16::widen};

/// `[cols]` weights.
pub fn unpack(row: Row<'_>, out: &mut [f32]) {
    let d = scale(row);
    for (byte, out) in row.quants.iter().zip(out.as_chunks_mut::<LANES>().0) {
        for (lane, out) in out.iter_mut().enumerate() {
            *out = if byte >> lane & 1 == 1 { d } else { -d };
        }
    }
}

/// `Σ w·x = d·Σ ±x`.
pub fn dot(row: Row<'_>, x: &[f32]) -> f32 {
    let mut sum = [0.0; LANES];
    for (byte, x) in row.quants.iter().zip(x.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            // A float's highest bit is its sign: turned where the weight's bit is not set.
            let sign = u32::from(!byte >> lane & 1) << 31;
            sum[lane] += f32::from_bits(x[lane].to_bits() ^ sign);
        }
    }
    scale(row) * sum.iter().sum::<f32>()
}

fn scale(row: Row<'_>) -> f32 {
    widen([row.scales[0], row.scales[1]])
}
