//! `y = (x − mean(x)) / sqrt(var(x) + eps) · w (+ bias)`.

use super::Packed;
use crate::formats::dot;

/// `x[n, d], w[1, d], bias[1, d] → y[n, d]`.
pub fn run(x: &[f32], w: &Packed, bias: Option<&Packed>, eps: f32, y: &mut [f32]) {
    let d = w.cols;
    let weight = w.floats();
    let bias = bias.map_or_else(|| vec![0.0; d], Packed::floats);
    for (x, y) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)) {
        let mean = x.iter().sum::<f32>() / d as f32;
        y.iter_mut().zip(x).for_each(|(y, x)| *y = x - mean);
        let scale = (dot(y, y) / d as f32 + eps).sqrt().recip();
        for ((y, w), b) in y.iter_mut().zip(&weight).zip(&bias) {
            *y = *y * scale * w + b;
        }
    }
}
