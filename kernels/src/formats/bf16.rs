//! bfloat16: `quants` is `[cols]` little-endian upper halves of an f32.

use super::Row;

/// `[cols]` weights, widened.
pub fn unpack(row: Row<'_>, out: &mut [f32]) {
    for (o, bytes) in out.iter_mut().zip(row.quants.as_chunks::<2>().0) {
        *o = f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
    }
}
