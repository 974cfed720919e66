override N_LOGITS: u32 = 0u;

fn router(expert: u32, col: u32) -> f32 {
    return 0.0;
}
