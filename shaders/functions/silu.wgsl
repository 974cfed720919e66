// x * sigmoid(x). exp stays finite, since some drivers assume that it does.
fn function(x: f32) -> f32 {
    return x / (1.0 + exp(min(-x, 87.0)));
}
