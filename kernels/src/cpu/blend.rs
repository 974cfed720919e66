//! `y = (sum +) weights[·, path] · x`.

/// `sum, x [n, d], weights[n, n_paths] → y[n, d]`.
pub fn run(
    sum: Option<&[f32]>,
    x: &[f32],
    weights: &[f32],
    (path, n_paths): (usize, usize),
    y: &mut [f32],
) {
    let d = x.len() / (weights.len() / n_paths);
    for ((x, y), weights) in x
        .chunks_exact(d)
        .zip(y.chunks_exact_mut(d))
        .zip(weights.chunks_exact(n_paths))
    {
        y.iter_mut()
            .zip(x)
            .for_each(|(y, x)| *y = weights[path] * x);
    }
    if let Some(sum) = sum {
        y.iter_mut().zip(sum).for_each(|(y, sum)| *y += sum);
    }
}
