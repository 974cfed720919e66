//! Rotary position embedding: pair `i` of each head turns by `pos · frequency[i] (+ phase[i])`.

use crate::op::{Pairing, Rotary};

/// `x[n, width], phases[n, pairs] → y[n, width]`, `width` being whole heads; row `r` is at position `pos + r`.
pub fn run(
    x: &[f32],
    rotary: &Rotary,
    phases: Option<&[f32]>,
    width: usize,
    pos: u32,
    y: &mut [f32],
) {
    y.copy_from_slice(x);
    let pairs = rotary.frequencies.len();
    for (r, row) in y.chunks_exact_mut(width).enumerate() {
        let pos = (pos as usize + r) as f32;
        for (i, frequency) in rotary.frequencies.iter().enumerate() {
            let (mut sin, mut cos) = (pos * frequency).sin_cos();
            if let Some(phases) = phases {
                // Not one sum of angles: that of a late position has no bits left for a small phase.
                let (s, c) = phases[r * pairs + i].sin_cos();
                (sin, cos) = (sin * c + cos * s, cos * c - sin * s);
            }
            let (a, b) = match rotary.pairing {
                Pairing::Half => (i, i + pairs),
                Pairing::Interleaved => (2 * i, 2 * i + 1),
            };
            for head in row.chunks_exact_mut(rotary.head_dim) {
                let (u, v) = (head[a], head[b]);
                head[a] = u * cos - v * sin;
                head[b] = v * cos + u * sin;
            }
        }
    }
}
