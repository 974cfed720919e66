//! Which experts each token goes to.

use crate::op::{Router, Score};

/// `logits[n, n_experts], bias[n_experts] → y[n, 2 · top_k]`: ids, then weights.
pub fn run(logits: &[f32], n_experts: usize, bias: Option<&[f32]>, router: Router, y: &mut [f32]) {
    let mut scores = vec![0.0; n_experts];
    for (logits, y) in logits
        .chunks_exact(n_experts)
        .zip(y.chunks_exact_mut(2 * router.top_k))
    {
        score(logits, router.score, &mut scores);
        let (ids, weights) = y.split_at_mut(router.top_k);
        choose(&scores, bias, ids);
        for (weight, id) in weights.iter_mut().zip(ids) {
            *weight = scores[*id as usize];
        }
        if router.renormalise {
            let sum = weights.iter().sum::<f32>().max(1e-6);
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
    }
}

fn score(logits: &[f32], score: Score, scores: &mut [f32]) {
    match score {
        Score::Softmax => {
            let max = logits.iter().fold(f32::MIN, |m, l| m.max(*l));
            for (s, l) in scores.iter_mut().zip(logits) {
                *s = (l - max).exp();
            }
            let sum: f32 = scores.iter().sum();
            scores.iter_mut().for_each(|s| *s /= sum);
        }
        Score::Sigmoid => {
            for (s, l) in scores.iter_mut().zip(logits) {
                *s = 1.0 / (1.0 + (-l).exp());
            }
        }
    }
}

/// The ids of the largest `score + bias`, largest first, the lower id first among equals.
fn choose(scores: &[f32], bias: Option<&[f32]>, ids: &mut [f32]) {
    for i in 0..ids.len() {
        let (mut best, mut best_key) = (0, f32::MIN);
        for (id, score) in scores.iter().enumerate() {
            let key = score + bias.map_or(0.0, |b| b[id]);
            if key > best_key && !ids[..i].contains(&(id as f32)) {
                (best, best_key) = (id, key);
            }
        }
        ids[i] = best as f32;
    }
}
