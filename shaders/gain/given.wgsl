@group(0) @binding(6) var<storage, read> gains: array<f32>; // [WIDTH]

fn gain(col: u32) -> f32 {
    return gains[col];
}
