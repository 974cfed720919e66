//! Signs with one f16 scale per row: `w = ±d` (Wang et al. 2023, BitNet).
//!
//! `quants[cols / 8]`: bit `i` of a byte is weight `i` of its eight, set for `+d`. `scales[1]` f16 `d`.

use super::{LANES, Row, f16::widen};

/// `[cols]` weights.
pub fn unpack(row: Row<'_>, out: &mut [f32]) {
    let d = scale(row);
    for (byte, out) in row.quants.iter().zip(out.as_chunks_mut::<LANES>().0) {
        for lane in 0..LANES {
            out[lane] = if byte >> lane & 1 == 1 { d } else { -d };
        }
    }
}

/// `Σ w·x = d·(2·Σ_{bit set} x − Σ x)`.
pub fn dot(row: Row<'_>, x: &[f32], group_sums: &[f32]) -> f32 {
    let mut set = [0.0; LANES];
    for (byte, x) in row.quants.iter().zip(x.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            // All ones where the bit is set: selects x without a branch.
            let mask = 0u32.wrapping_sub(u32::from(byte >> lane & 1));
            set[lane] += f32::from_bits(x[lane].to_bits() & mask);
        }
    }
    let all: f32 = group_sums.iter().sum();
    scale(row) * (2.0 * set.iter().sum::<f32>() - all)
}

fn scale(row: Row<'_>) -> f32 {
    widen([row.scales[0], row.scales[1]])
}
