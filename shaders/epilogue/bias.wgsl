@group(0) @binding(5) var<storage, read> bias: array<f32>; // [WIDTH]

fn finish(value: f32, token: u32, col: u32) -> f32 {
    return value + bias[col];
}
