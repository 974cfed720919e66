@group(0) @binding(5) var<storage, read> residual: array<f32>; // [n, WIDTH]

fn finish(value: f32, token: u32, col: u32) -> f32 {
    return value + residual[token * WIDTH + col];
}
