//! `tokens[n] → y[n, d]`.

use super::Packed;

/// Row `token` of the table `w[vocab, d]`, unpacked; a token outside the vocabulary reads its last row.
pub fn run(w: &Packed, tokens: &[u32], y: &mut [f32]) {
    for (&token, y) in tokens.iter().zip(y.chunks_exact_mut(w.cols)) {
        w.format.unpack(w.row((token as usize).min(w.rows - 1)), y);
    }
}
