@group(0) @binding(2) var<storage, read> up: array<f32>; // [n, WIDTH]

fn gated(value: f32, i: u32) -> f32 {
    return value * up[i];
}
