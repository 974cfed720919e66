//! 32-bit floats: `quants` is `[cols]` little-endian f32.

use super::Row;

/// `[cols]` weights as they are.
pub fn unpack(row: Row<'_>, out: &mut [f32]) {
    for (o, bytes) in out.iter_mut().zip(row.quants.as_chunks::<4>().0) {
        *o = f32::from_le_bytes(*bytes);
    }
}
