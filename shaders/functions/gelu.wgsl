// x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))); tanh overflows on some drivers past 44.
fn function(x: f32) -> f32 {
    let z = clamp(0.7978845608 * (x + 0.044715 * x * x * x), -40.0, 40.0);
    return 0.5 * x * (1.0 + tanh(z));
}
