// What becomes of a dot product before it is written: nothing.
fn finish(value: f32, token: u32, col: u32) -> f32 {
    return value;
}
