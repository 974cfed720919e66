//! The last token's row.

/// `x[n, d] → y[1, d]`.
pub fn run(x: &[f32], y: &mut [f32]) {
    y.copy_from_slice(&x[x.len() - y.len()..]);
}
