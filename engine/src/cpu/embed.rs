//! `tokens[n] → y[n, d]`.

use super::{linear::Multiplier, team::Matrix};

/// Row `token` of the table `w[vocab, d]`, unpacked; a token outside the vocabulary reads its last row.
pub fn run(multiplier: &mut Multiplier, w: Matrix<'_>, tokens: &[u32], y: &mut [f32]) {
    for (&token, y) in tokens.iter().zip(y.chunks_exact_mut(w.w.cols)) {
        multiplier.row(w, (token as usize).min(w.rows - 1), y);
    }
}
