fn prepare(at: u32) {}

fn score(i: u32) -> f32 {
    return 1.0 / (1.0 + exp(clamp(-logits[i], -87.0, 87.0)));
}
