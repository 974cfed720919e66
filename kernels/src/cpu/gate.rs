//! `y = x · (low + (high − low) · sigmoid(gate))`, a gate for each run of columns.

use super::activate::sigmoid;

/// `x[n, d], gates[n, k] → y[n, d]`, `columns = d / k`.
pub fn run(x: &[f32], gates: &[f32], columns: usize, (low, high): (f32, f32), y: &mut [f32]) {
    let parts = x.chunks_exact(columns).zip(y.chunks_exact_mut(columns));
    for ((x, y), gate) in parts.zip(gates) {
        let factor = low + (high - low) * sigmoid(*gate);
        y.iter_mut().zip(x).for_each(|(y, x)| *y = x * factor);
    }
}
