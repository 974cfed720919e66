//! `y = x / sqrt(mean(x²) + eps) · w`.

use super::Packed;

/// `x[n, d], w[1, d] → y[n, d]`.
pub fn run(x: &[f32], w: &Packed, eps: f32, y: &mut [f32]) {
    let weight = w.floats();
    for (x, y) in x.chunks_exact(w.cols).zip(y.chunks_exact_mut(w.cols)) {
        let mean = crate::formats::dot(x, x) / w.cols as f32;
        let scale = (mean + eps).sqrt().recip();
        for ((y, x), w) in y.iter_mut().zip(x).zip(&weight) {
            *y = x * scale * w;
        }
    }
}
