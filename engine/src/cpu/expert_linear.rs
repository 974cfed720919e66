//! `y[i] = x · w[id_i]ᵀ` for the chosen experts of each token.

use super::{linear::Multiplier, team::Matrix};

/// `x[n, cols]` or `x[n, top_k · cols]`, `w[n_experts · rows, cols]`, `routing[n, 2 · top_k]
/// → y[n, top_k · rows]`.
///
/// Tokens are gathered by expert, so that a weight is unpacked once for all of its tokens; the weights of
/// an expert that nobody chose are not touched.
pub fn run(
    multiplier: &mut Multiplier,
    x: &[f32],
    w: Matrix<'_>,
    (routing, top_k): (&[f32], usize),
    n_experts: usize,
    y: &mut [f32],
) {
    let n = routing.len() / (2 * top_k);
    let rows = w.rows / n_experts;
    let is_shared = x.len() == n * w.w.cols;
    let mut places = Vec::with_capacity(n);
    multiplier.hold(x, w);
    for expert in 0..n_experts {
        places.clear();
        for (token, routing) in routing.chunks_exact(2 * top_k).enumerate() {
            let Some(i) = routing[..top_k]
                .iter()
                .position(|&id| id as usize == expert)
            else {
                continue;
            };
            let at = token * top_k + i;
            let from = if is_shared { token } else { at };
            places.push((from, at * rows));
        }
        multiplier.multiply(w, expert * rows..(expert + 1) * rows, x, &places, y);
    }
}
