//! 16-bit floats: `quants` is `[cols]` little-endian IEEE 754 binary16.

use super::Row;

/// `[cols]` weights, widened.
pub fn unpack(row: Row<'_>, out: &mut [f32]) {
    for (o, bytes) in out.iter_mut().zip(row.quants.as_chunks::<2>().0) {
        *o = widen(*bytes);
    }
}

/// One number, exactly. `half` does the same behind a call and several branches, and the scales of packed
/// formats need it twice per group.
#[inline]
pub fn widen(bytes: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(bytes));
    let sign = (bits & 0x8000) << 16;
    // With the exponent's bits in place, a product by 2^112 moves its bias from 15 to 127, subnormals too.
    let finite = f32::from_bits((bits & 0x7FFF) << 13) * f32::from_bits((127 + 112) << 23);
    let special = if bits & 0x7C00 == 0x7C00 {
        0x7F80_0000
    } else {
        0
    };
    f32::from_bits(finite.to_bits() | special | sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_widens_to_itself() {
        for bits in 0..=u16::MAX {
            let (got, want) = (
                widen(bits.to_le_bytes()),
                half::f16::from_bits(bits).to_f32(),
            );
            assert!(
                got == want || got.is_nan() && want.is_nan(),
                "{bits:#06x}: {got} for {want}"
            );
        }
    }
}
