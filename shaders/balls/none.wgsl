fn kept(score: f32, key: u32, head: u32) -> f32 {
    return score;
}
