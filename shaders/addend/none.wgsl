fn added(value: f32, i: u32) -> f32 {
    return value;
}
