//! 16-bit floats: `quants` is `[cols]` little-endian IEEE 754 binary16.

use super::Row;
use half::f16;

/// `[cols]` weights, widened.
pub fn unpack(row: Row<'_>, out: &mut [f32]) {
    for (o, bytes) in out.iter_mut().zip(row.quants.as_chunks::<2>().0) {
        *o = f16::from_le_bytes(*bytes).to_f32();
    }
}
