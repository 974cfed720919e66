//! From a file's bytes to the planes of a packed format, a run of rows at a time.

use super::{Dtype, Stored, slab::Codes};
use crate::formats::{self, Format};
use half::{bf16, f16};

/// The packed format that keeps the stored numbers exactly.
pub fn exact(stored: &Stored) -> Format {
    match stored {
        Stored::Rows(dtype) | Stored::Columns(dtype) => match dtype {
            Dtype::F32 => Format::F32,
            Dtype::F16 => Format::F16,
            Dtype::Bf16 => Format::Bf16,
            Dtype::Q8_0 => Format::Q8,
            Dtype::Q4_0 | Dtype::Q4_1 => Format::Q4,
            Dtype::U8 | Dtype::Planes(_) => unreachable!("they are stored in ways of their own"),
        },
        Stored::Planes { format, .. } => *format,
        Stored::Scaled { codes, .. } => match codes {
            Codes::Bits { .. } => Format::B1,
            Codes::Nibbles { .. } => Format::I4,
        },
    }
}

/// The planes `(quants, scales)` of whole rows of `cols` weights, whose bytes are `stored`.
pub fn floats_or_blocks(
    dtype: Dtype,
    stored: Vec<u8>,
    to: Format,
    cols: usize,
) -> (Vec<u8>, Vec<u8>) {
    if exact(&Stored::Rows(dtype)) != to {
        return quantise(dtype, &stored, to, cols);
    }
    match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::Bf16 => (stored, Vec::new()),
        Dtype::U8 | Dtype::Planes(_) => unreachable!("they are stored in ways of their own"),
        Dtype::Q8_0 => split_blocks::<34>(&stored, 2, |_| {}),
        Dtype::Q4_1 => split_blocks::<20>(&stored, 4, |_| {}),
        Dtype::Q4_0 => split_blocks::<18>(&stored, 2, |scales| {
            // w = d·(q − 8) = d·q + m with m = −8·d, exact in f16 for every d below 8,188.
            let d = f16::from_le_bytes([scales[0], scales[1]]);
            scales.extend(f16::from_f32(-8.0 * d.to_f32()).to_le_bytes());
        }),
    }
}

/// Floats to the nearest that a format of fewer bits can hold.
fn quantise(dtype: Dtype, stored: &[u8], to: Format, cols: usize) -> (Vec<u8>, Vec<u8>) {
    let row_bytes = cols * dtype.block().1;
    let (mut quants, mut scales) = (Vec::new(), Vec::new());
    let mut row = vec![0.0; cols];
    for stored in stored.chunks_exact(row_bytes) {
        widen(dtype, stored, &mut row);
        formats::pack(to, &row, &mut quants, &mut scales);
    }
    (quants, scales)
}

fn widen(dtype: Dtype, stored: &[u8], out: &mut [f32]) {
    let halves = stored.as_chunks::<2>().0.iter().zip(&mut *out);
    match dtype {
        Dtype::F16 => halves.for_each(|(b, o)| *o = f16::from_le_bytes(*b).to_f32()),
        Dtype::Bf16 => halves.for_each(|(b, o)| *o = bf16::from_le_bytes(*b).to_f32()),
        Dtype::F32 => {
            let words = stored.as_chunks::<4>().0.iter().zip(out);
            words.for_each(|(b, o)| *o = f32::from_le_bytes(*b));
        }
        _ => unreachable!("{dtype:?} is not made of floats"),
    }
}

/// `[cols, rows] → [rows, cols]`, floats of any size.
pub fn transpose(dtype: Dtype, stored: &[u8], rows: usize, cols: usize) -> Vec<u8> {
    match dtype.block().1 {
        2 => transpose_chunks::<2>(stored, rows, cols),
        4 => transpose_chunks::<4>(stored, rows, cols),
        _ => unreachable!("{dtype:?} is not made of floats"),
    }
}

/// In square tiles, so that both sides stay in the processor's cache.
fn transpose_chunks<const BYTES: usize>(stored: &[u8], rows: usize, cols: usize) -> Vec<u8> {
    const TILE: usize = 32;
    let from = stored.as_chunks::<BYTES>().0;
    let mut out = vec![0; stored.len()];
    let to = out.as_chunks_mut::<BYTES>().0;
    for row0 in (0..rows).step_by(TILE) {
        for col0 in (0..cols).step_by(TILE) {
            for row in row0..rows.min(row0 + TILE) {
                for col in col0..cols.min(col0 + TILE) {
                    to[row * cols + col] = from[col * rows + row];
                }
            }
        }
    }
    out
}

/// A family's codes in the one order that kernels read: see docs/formats.md.
pub fn codes(codes: Codes, mut stored: Vec<u8>) -> Vec<u8> {
    match codes {
        Codes::Bits {
            msb_first,
            one_is_plus,
        } => {
            for byte in &mut stored {
                let bits = if msb_first {
                    byte.reverse_bits()
                } else {
                    *byte
                };
                *byte = if one_is_plus { bits } else { !bits };
            }
        }
        Codes::Nibbles { low_first, offset } => {
            for group in stored.as_chunks_mut::<16>().0 {
                let weight = |i: usize| {
                    let byte = group[i / 2];
                    let nibble = if i.is_multiple_of(2) == low_first {
                        byte & 15
                    } else {
                        byte >> 4
                    };
                    match offset {
                        // Codes beyond the offset's range do not occur under the true convention.
                        Some(offset) => (nibble + 8).saturating_sub(offset).min(15),
                        None => nibble ^ 8,
                    }
                };
                *group = std::array::from_fn(|b| weight(b) | weight(16 + b) << 4);
            }
        }
    }
    stored
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Row;

    fn unpacked(dtype: Dtype, stored: &[u8]) -> Vec<f32> {
        let format = exact(&Stored::Rows(dtype));
        let (quants, scales) = floats_or_blocks(dtype, stored.to_vec(), format, 32);
        let mut out = vec![0.0; 32];
        let row = Row {
            quants: &quants,
            scales: &scales,
        };
        format.unpack(row, &mut out);
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

    #[test]
    fn a_transpose_turns_rows_into_columns() {
        let stored: Vec<u8> = (0..35 * 40).flat_map(|i: u16| i.to_le_bytes()).collect();
        let out = transpose(Dtype::F16, &stored, 40, 35);
        for (i, value) in out.as_chunks::<2>().0.iter().enumerate() {
            let (row, col) = (i / 35, i % 35);
            assert_eq!(u16::from_le_bytes(*value) as usize, col * 40 + row);
        }
    }

    /// One row of weights, written under every convention, unpacks to the same numbers.
    #[test]
    fn every_convention_of_codes_means_the_same() {
        let q: Vec<i32> = (0..64).map(|i| (i * 7 + 3) % 15 - 7).collect();
        let scale = f16::from_f32(0.25).to_le_bytes();
        let check = |format: Format, conventions: Codes, stored: Vec<u8>, want: &[f32]| {
            let quants = codes(conventions, stored);
            let mut out = vec![0.0; 64];
            let row = Row {
                quants: &quants,
                scales: &scale,
            };
            format.unpack(row, &mut out);
            assert_eq!(out, want, "{conventions:?}");
        };
        let want: Vec<f32> = q.iter().map(|&q| 0.25 * q as f32).collect();
        let signs: Vec<f32> = q
            .iter()
            .map(|&q| if q < 0 { -0.25 } else { 0.25 })
            .collect();
        for first in [true, false] {
            for offset in [Some(8), Some(7), None] {
                let code = |q: i32| offset.map_or(q & 15, |o| q + i32::from(o)) as u8;
                let stored = q.chunks(2).map(|two| {
                    let (a, b) = (code(two[0]), code(two[1]));
                    if first { a | b << 4 } else { b | a << 4 }
                });
                let nibbles = Codes::Nibbles {
                    low_first: first,
                    offset,
                };
                check(Format::I4, nibbles, stored.collect(), &want);
            }
            for one_is_plus in [true, false] {
                let stored = q.chunks(8).map(|eight| {
                    let bit = |(i, q): (usize, &i32)| {
                        let set = u8::from((*q >= 0) == one_is_plus);
                        set << if first { 7 - i } else { i }
                    };
                    eight.iter().enumerate().map(bit).sum()
                });
                let bits = Codes::Bits {
                    msb_first: first,
                    one_is_plus,
                };
                check(Format::B1, bits, stored.collect(), &signs);
            }
        }
    }
}
