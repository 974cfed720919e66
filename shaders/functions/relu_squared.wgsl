fn function(x: f32) -> f32 {
    let y = max(x, 0.0);
    return y * y;
}
