//! From a file's blocks to the planes of a packed format, a run of rows at a time.

use super::Dtype;
use crate::formats::{Format, GROUP, Rows};
use half::f16;

/// The packed format that keeps a stored tensor's numbers exactly.
pub fn format_of(dtype: Dtype) -> Format {
    match dtype {
        Dtype::F32 => Format::F32,
        Dtype::F16 => Format::F16,
        Dtype::Bf16 => Format::Bf16,
        Dtype::Q8_0 => Format::Q8,
        Dtype::Q4_0 | Dtype::Q4_1 => Format::Q4,
    }
}

/// Packs `n_rows` stored rows of `cols` weights, whose bytes are `stored`.
pub fn pack(dtype: Dtype, stored: Vec<u8>, row0: usize, n_rows: usize, cols: usize) -> Rows {
    let (block_weights, block_bytes) = dtype.block();
    assert_eq!(
        stored.len(),
        n_rows * (cols / block_weights) * block_bytes,
        "bytes of {n_rows} rows of {cols}"
    );
    let (quants, scales) = match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::Bf16 => (stored, Vec::new()),
        Dtype::Q8_0 => split_blocks::<34>(&stored, 2, |_| {}),
        Dtype::Q4_1 => split_blocks::<20>(&stored, 4, |_| {}),
        Dtype::Q4_0 => split_blocks::<18>(&stored, 2, |scales| {
            // w = d·(q − 8) = d·q + m with m = −8·d, exact in f16 for every d below 8,188.
            let d = f16::from_le_bytes([scales[0], scales[1]]);
            scales.extend(f16::from_f32(-8.0 * d.to_f32()).to_le_bytes());
        }),
    };
    Rows {
        row0,
        n_rows,
        quants,
        scales,
    }
}

/// Splits blocks of `head` bytes of scales and the rest quants into the two planes. `widen` may add to
/// the scales of a block.
fn split_blocks<const BLOCK: usize>(
    stored: &[u8],
    head: usize,
    widen: fn(&mut Vec<u8>),
) -> (Vec<u8>, Vec<u8>) {
    let n_blocks = stored.len() / BLOCK;
    let mut quants = Vec::with_capacity(n_blocks * (BLOCK - head));
    let mut scales = Vec::with_capacity(n_blocks * 4);
    let mut block_scales = Vec::with_capacity(4);
    for block in stored.as_chunks::<BLOCK>().0 {
        block_scales.clear();
        block_scales.extend_from_slice(&block[..head]);
        widen(&mut block_scales);
        scales.extend_from_slice(&block_scales);
        quants.extend_from_slice(&block[head..]);
    }
    (quants, scales)
}

/// True when rows of `cols` weights divide into whole blocks.
pub fn divides(dtype: Dtype, cols: usize) -> bool {
    let (block_weights, _) = dtype.block();
    debug_assert!(block_weights == 1 || block_weights == GROUP);
    cols.is_multiple_of(block_weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Row;

    fn unpacked(dtype: Dtype, stored: &[u8]) -> Vec<f32> {
        let rows = pack(dtype, stored.to_vec(), 0, 1, 32);
        let mut out = vec![0.0; 32];
        format_of(dtype).unpack(
            Row {
                quants: &rows.quants,
                scales: &rows.scales,
            },
            &mut out,
        );
        out
    }

    /// GGML's definition of each block, written out by hand.
    #[test]
    fn blocks_keep_their_numbers() {
        let d = f16::from_f32(0.5).to_le_bytes();
        let m = f16::from_f32(-3.0).to_le_bytes();
        let nibbles: Vec<u8> = (0..16).map(|b| b | (((b + 3) % 16) << 4)).collect();
        let q = |i: usize| {
            if i < 16 {
                i as f32
            } else {
                ((i - 16 + 3) % 16) as f32
            }
        };

        let q4_0 = unpacked(Dtype::Q4_0, &[&d[..], &nibbles].concat());
        let q4_1 = unpacked(Dtype::Q4_1, &[&d[..], &m, &nibbles].concat());
        let bytes: Vec<u8> = (0..32).map(|i: i32| (i * 8 - 128) as i8 as u8).collect();
        let q8_0 = unpacked(Dtype::Q8_0, &[&d[..], &bytes].concat());
        for i in 0..32 {
            assert_eq!(q4_0[i], 0.5 * (q(i) - 8.0), "q4_0 {i}");
            assert_eq!(q4_1[i], 0.5 * q(i) - 3.0, "q4_1 {i}");
            assert_eq!(q8_0[i], 0.5 * (i as f32 * 8.0 - 128.0), "q8_0 {i}");
        }
    }
}
