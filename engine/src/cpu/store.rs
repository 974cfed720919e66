//! `cache[pos .. pos + n] = x`.

use crate::op::Step;

/// `x[n, width]` into rows of `cache[context, width]`.
pub fn run(x: &[f32], width: usize, step: Step, cache: &mut [f32]) {
    let (pos, n) = (step.pos as usize, step.n as usize);
    cache[pos * width..][..n * width].copy_from_slice(&x[..n * width]);
}
