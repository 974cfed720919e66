//! Drawing a token from logits. The CPU twin of shaders/sample.wgsl, to the letter.
//!
//! Probabilities become whole numbers of 2⁻³⁰ before they are summed, so no sum depends on its order and
//! a workgroup of threads finds the same thresholds as a loop.

/// Sampling settings. Mirrors `Sampling` in shaders/sample.wgsl.
///
/// Applied in Hugging Face's order: repetition penalty, temperature, top-k, top-p, min-p, draw.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Sampling {
    /// 0 picks the most likely token; the filters are then without effect.
    pub temperature: f32,
    /// Keep the `k` most likely tokens (and those that tie with the last of them); 0 keeps all.
    pub top_k: u32,
    /// Keep the most likely tokens until their probabilities sum to this; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this fraction as likely as the most likely one; 0 keeps all.
    pub min_p: f32,
    /// Divides positive logits and multiplies negative ones of tokens already in the context; 1 is off
    /// (Keskar et al. 2019).
    pub repetition_penalty: f32,
    /// The same seed, settings and prompt give the same text on the same backend.
    pub seed: u32,
}

impl Sampling {
    /// Mild randomness, which suits small models: what holds where neither a model's author nor anyone else says
    /// otherwise.
    pub const MILD: Self = Self {
        temperature: 0.3,
        top_k: 40,
        top_p: 0.9,
        min_p: 0.05,
        repetition_penalty: 1.1,
        seed: 0,
    };

    /// Always the most likely token.
    pub const fn greedy() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

/// Draws from `logits[vocab]`. `seen[vocab / 32]` is the bitset of tokens in the context; the drawn one
/// is added. `pos` is the position of the context's last token: with the seed, it decides the draw.
pub fn sample(logits: &[f32], seen: &mut [u32], sampling: &Sampling, pos: u32) -> u32 {
    let penalised = |(i, &l): (usize, &f32)| match seen[i / 32] >> (i % 32) & 1 {
        0 => l,
        _ if l > 0.0 => l / sampling.repetition_penalty,
        _ => l * sampling.repetition_penalty,
    };
    let logits: Vec<f32> = logits.iter().enumerate().map(penalised).collect();
    let token = if sampling.temperature <= 0.0 {
        argmax(&logits)
    } else {
        draw(&logits, sampling, pos)
    };
    seen[token / 32] |= 1 << (token % 32);
    token as u32
}

/// The first of the largest.
fn argmax(logits: &[f32]) -> usize {
    let mut best = 0;
    for (i, &l) in logits.iter().enumerate() {
        if l > logits[best] {
            best = i;
        }
    }
    best
}

fn draw(logits: &[f32], sampling: &Sampling, pos: u32) -> usize {
    let max = logits[argmax(logits)];
    let likelihood = |l: f32| ((l - max) / sampling.temperature).exp();
    let sum: f32 = logits.iter().map(|&l| likelihood(l)).sum();
    let items: Vec<Item> = logits
        .iter()
        .map(|&l| Item {
            key: key(l),
            mass: (likelihood(l) / sum * (1u32 << 30) as f32) as u32,
        })
        .collect();

    let mut threshold = 0;
    if sampling.top_k > 0 {
        threshold = select(&items, threshold, sampling.top_k, |_| 1);
    }
    if sampling.top_p < 1.0 {
        let kept = mass_from(&items, threshold);
        let target = ((kept as f32 * sampling.top_p) as u32).max(1);
        threshold = threshold.max(select(&items, threshold, target, |item| item.mass));
    }
    if sampling.min_p > 0.0 {
        threshold = threshold.max(key(max + sampling.temperature * sampling.min_p.ln()));
    }

    let target = scale_down(
        random_bits(sampling.seed, pos),
        mass_from(&items, threshold),
    );
    let mut cumulative = 0;
    for (i, item) in items
        .iter()
        .enumerate()
        .filter(|(_, item)| item.key >= threshold)
    {
        cumulative += item.mass;
        if cumulative > target {
            return i;
        }
    }
    argmax(logits)
}

struct Item {
    key: u32,
    /// Probability in units of 2⁻³⁰.
    mass: u32,
}

/// A number that orders as the float does.
fn key(l: f32) -> u32 {
    let bits = l.to_bits();
    if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    }
}

fn mass_from(items: &[Item], threshold: u32) -> u32 {
    items
        .iter()
        .filter(|item| item.key >= threshold)
        .map(|item| item.mass)
        .sum()
}

/// The largest key such that the items at or above it (and above `floor`) weigh at least `target`;
/// `floor` when all together weigh less. Radix select: eight bits of the key at a time.
fn select(items: &[Item], floor: u32, target: u32, weight: impl Fn(&Item) -> u32) -> u32 {
    let (mut prefix, mut above) = (0u32, 0u32);
    for shift in [24, 16, 8, 0] {
        let mut bins = [0u32; 256];
        for item in items.iter().filter(|item| item.key >= floor) {
            if u64::from(item.key) >> (shift + 8) == u64::from(prefix) >> (shift + 8) {
                bins[(item.key >> shift & 255) as usize] += weight(item);
            }
        }
        let mut bin = 255;
        while bin > 0 && above + bins[bin] < target {
            above += bins[bin];
            bin -= 1;
        }
        prefix |= (bin as u32) << shift;
    }
    prefix.max(floor)
}

/// `bits / 2³² · total`, rounded down.
fn scale_down(bits: u32, total: u32) -> u32 {
    ((u64::from(bits) * u64::from(total)) >> 32) as u32
}

/// One step of a PCG hash (Jarzynski & Olano 2020) over the seed and the position.
fn random_bits(seed: u32, pos: u32) -> u32 {
    let state = (seed ^ pos.wrapping_mul(0x9E37_79B9))
        .wrapping_mul(747_796_405)
        .wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    (word >> 22) ^ word
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 6] = [0.0, 3.0, 1.0, 2.0, -5.0, 2.5];

    /// Which tokens a few thousand draws give, and how often.
    fn histogram(sampling: Sampling) -> [u32; 6] {
        let mut counts = [0; 6];
        for seed in 0..4000 {
            let sampling = Sampling { seed, ..sampling };
            counts[sample(&LOGITS, &mut [0], &sampling, seed % 7) as usize] += 1;
        }
        counts
    }

    fn warm() -> Sampling {
        Sampling {
            temperature: 1.0,
            ..Sampling::greedy()
        }
    }

    fn kept(sampling: Sampling) -> Vec<usize> {
        histogram(sampling)
            .iter()
            .enumerate()
            .filter(|(_, n)| **n > 0)
            .map(|(i, _)| i)
            .collect()
    }

    #[test]
    fn greedy_takes_the_first_of_the_largest() {
        assert_eq!(
            sample(&[1.0, 4.0, 4.0, 2.0], &mut [0], &Sampling::greedy(), 9),
            1
        );
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let counts = histogram(warm());
        let sum: f32 = LOGITS.iter().map(|l| l.exp()).sum();
        for (l, n) in LOGITS.iter().zip(counts) {
            let expected = 4000.0 * l.exp() / sum;
            assert!(
                (n as f32 - expected).abs() < 4.0 * expected.sqrt() + 2.0,
                "{n} draws, {expected} expected"
            );
        }
    }

    #[test]
    fn filters_keep_what_they_say() {
        assert_eq!(kept(Sampling { top_k: 3, ..warm() }), [1, 3, 5]);
        assert_eq!(kept(Sampling { top_k: 1, ..warm() }), [1]);
        assert_eq!(
            kept(Sampling {
                top_k: 100,
                top_p: 0.99,
                ..warm()
            }),
            [0, 1, 2, 3, 5]
        );
        // Probabilities 0.46, 0.28, 0.17, …: the first two reach 0.6.
        assert_eq!(
            kept(Sampling {
                top_p: 0.6,
                ..warm()
            }),
            [1, 5]
        );
        assert_eq!(
            kept(Sampling {
                top_p: 0.0,
                ..warm()
            }),
            [1]
        );
        assert_eq!(
            kept(Sampling {
                min_p: 0.3,
                ..warm()
            }),
            [1, 3, 5]
        );
        // At temperature 2 the ratio of token 2 to token 1 is e⁻¹.
        assert_eq!(
            kept(Sampling {
                min_p: 0.36,
                temperature: 2.0,
                ..warm()
            }),
            [1, 2, 3, 5]
        );
    }

    #[test]
    fn the_penalty_moves_seen_tokens_down_and_remembers_the_draw() {
        let sampling = Sampling {
            repetition_penalty: 2.0,
            ..Sampling::greedy()
        };
        let mut seen = [1 << 1];
        assert_eq!(sample(&LOGITS, &mut seen, &sampling, 0), 5);
        assert_eq!(seen[0], 1 << 1 | 1 << 5);
        assert_eq!(sample(&[-1.0, -1.5], &mut [1], &sampling, 0), 1);
    }

    #[test]
    fn the_seed_decides() {
        let at = |seed, pos| sample(&LOGITS, &mut [0], &Sampling { seed, ..warm() }, pos);
        assert!((0..50).all(|seed| at(seed, 3) == at(seed, 3)));
        assert!((0..50).any(|seed| at(seed, 3) != at(seed + 1, 3)));
    }
}
