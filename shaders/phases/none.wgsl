fn shifted(turn: vec2<f32>, i: u32) -> vec2<f32> {
    return turn;
}
