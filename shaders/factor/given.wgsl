@group(0) @binding(2) var<storage, read> factors: array<f32>; // [n, WIDTH], or [WIDTH] for all rows

fn scaled(value: f32, i: u32) -> f32 {
    return value * factors[i];
}
