//! Activations as bytes, for instructions that multiply sixteen of them at once.

use super::Group;
use crate::formats::GROUP;

/// Words `256 · upper + lower`: the upper bytes, then the lower ones.
#[inline(always)]
pub fn activations(x: Group) -> Group {
    let mut bytes = [[0; GROUP]; 2];
    // Loops, and not `map`: so they become SIMD.
    for (upper, x) in bytes[0].iter_mut().zip(x) {
        // Rounded to the nearest multiple, so that what is left is a signed byte: the lower eight bits.
        *upper = ((x + 128) >> 8) as i8;
    }
    for (lower, x) in bytes[1].iter_mut().zip(x) {
        *lower = x as i8;
    }
    bytemuck::cast(bytes)
}
