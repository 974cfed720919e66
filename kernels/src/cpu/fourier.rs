//! Cosines and sines of positions.

/// `frequencies[R] → y[n, 2 · R]`; row `r` is at position `pos + r`.
pub fn run(frequencies: &[f32], pos: u32, y: &mut [f32]) {
    let n = frequencies.len();
    for (r, row) in y.chunks_exact_mut(2 * n).enumerate() {
        let pos = (pos as usize + r) as f32;
        for (i, frequency) in frequencies.iter().enumerate() {
            (row[n + i], row[i]) = (pos * frequency).sin_cos();
        }
    }
}
