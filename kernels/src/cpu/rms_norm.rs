//! `y = x / sqrt(mean(x²) + eps) · w`.

use super::Packed;

/// `x[n, d], w[1, d] → y[n, d]`.
pub fn run(x: &[f32], w: Option<&Packed>, d: usize, eps: f32, y: &mut [f32]) {
    let weight = w.map_or_else(|| vec![1.0; d], Packed::floats);
    for (x, y) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)) {
        let mean = crate::formats::dot(x, x) / d as f32;
        let scale = (mean + eps).sqrt().recip();
        for ((y, x), w) in y.iter_mut().zip(x).zip(&weight) {
            *y = x * scale * w;
        }
    }
}
