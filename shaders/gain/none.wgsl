fn gain(col: u32) -> f32 {
    return 1.0;
}
