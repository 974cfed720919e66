//! How much each path of a mixture counts.

/// `logits[n, n_paths], bias[n_paths] → y[n, n_paths]`.
pub fn run(
    logits: &[f32],
    n_paths: usize,
    bias: Option<&[f32]>,
    temperature: f32,
    top_k: usize,
    y: &mut [f32],
) {
    for (logits, y) in logits
        .chunks_exact(n_paths)
        .zip(y.chunks_exact_mut(n_paths))
    {
        let logit = |i: usize| (logits[i] + bias.map_or(0.0, |bias| bias[i])) / temperature;
        let before = |i: usize, j: usize| logit(j) > logit(i) || logit(j) == logit(i) && j < i;
        let max = (0..n_paths).map(logit).fold(f32::MIN, f32::max);
        for (i, y) in y.iter_mut().enumerate() {
            let rank = (0..n_paths).filter(|&j| before(i, j)).count();
            *y = if rank < top_k {
                (logit(i) - max).exp()
            } else {
                0.0
            };
        }
        let sum: f32 = y.iter().sum();
        y.iter_mut().for_each(|y| *y /= sum);
    }
}
