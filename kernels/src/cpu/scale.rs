//! `y = x · factor`, a factor for each run of columns.

/// `x[n, d], factors[k] → y[n, d]`.
pub fn run(x: &[f32], factors: &[f32], d: usize, y: &mut [f32]) {
    let columns = d / factors.len();
    for (i, (y, x)) in y.iter_mut().zip(x).enumerate() {
        *y = x * factors[i % d / columns];
    }
}
