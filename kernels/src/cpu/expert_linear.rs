//! `y[i] = x · w[id_i]ᵀ` for the chosen experts of each token.

use super::linear::{Job, Matrix};

/// The jobs of `x[n, cols]` or `x[n, top_k · cols]`, `w[n_experts · rows, cols]`, `routing[n, 2 · top_k]
/// → y[n, top_k · rows]`: one for each expert that somebody chose.
///
/// Tokens are gathered by expert, so that a weight is unpacked once for all of its tokens; the weights of
/// an expert that nobody chose are not touched.
pub fn jobs<'w>(
    x: &[f32],
    w: Matrix<'w>,
    (routing, top_k): (&[f32], usize),
    n_experts: usize,
    y: usize,
) -> impl Iterator<Item = Job<'w>> {
    let n = routing.len() / (2 * top_k);
    let rows = w.w.rows / n_experts;
    let is_one_for_all = x.len() == n * w.w.cols;
    (0..n_experts).filter_map(move |expert| {
        let chosen = routing.chunks_exact(2 * top_k).enumerate();
        let places: Vec<_> = chosen
            .filter_map(|(token, routing)| {
                let mut ids = routing[..top_k].iter();
                let at = token * top_k + ids.position(|&id| id as usize == expert)?;
                Some((if is_one_for_all { token } else { at }, at * rows))
            })
            .collect();
        (!places.is_empty()).then_some(Job {
            w,
            rows: expert * rows..(expert + 1) * rows,
            places,
            y,
        })
    })
}
