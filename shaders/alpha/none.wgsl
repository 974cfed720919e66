fn alpha(head: u32) -> f32 {
    return 1.0;
}
