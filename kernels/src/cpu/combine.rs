//! The chosen experts' outputs, weighted and added up.

/// `x[n, top_k · d], routing[n, 2 · top_k] → y[n, d]`.
pub fn run(x: &[f32], routing: &[f32], top_k: usize, d: usize, y: &mut [f32]) {
    y.fill(0.0);
    let tokens = x
        .chunks_exact(top_k * d)
        .zip(routing.chunks_exact(2 * top_k));
    for ((x, routing), y) in tokens.zip(y.chunks_exact_mut(d)) {
        for (x, weight) in x.chunks_exact(d).zip(&routing[top_k..]) {
            y.iter_mut().zip(x).for_each(|(y, x)| *y += weight * x);
        }
    }
}
