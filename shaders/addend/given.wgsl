@group(0) @binding(4) var<storage, read> terms: array<f32>; // [n, WIDTH], or [WIDTH] for all rows

fn added(value: f32, i: u32) -> f32 {
    return value + terms[i];
}
