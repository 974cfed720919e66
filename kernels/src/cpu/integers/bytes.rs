//! Activations and weights as bytes, for instructions that multiply sixteen of them at once.

use super::Group;

/// Words `256 · upper + lower`: the upper bytes, then the lower ones.
#[inline(always)]
pub fn activations(x: Group) -> Group {
    // Rounded to the nearest multiple, so that what is left is a signed byte.
    let upper = x.map(|x| ((x + 128) >> 8) as i8);
    let lower = std::array::from_fn(|i| (x[i] - i16::from(upper[i]) * 256) as i8);
    bytemuck::cast([upper, lower])
}

/// In the first half of a group's memory.
#[inline(always)]
pub fn weights(w: Group) -> Group {
    bytemuck::cast([w.map(|w| w as i8), [0; _]])
}
