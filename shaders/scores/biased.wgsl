@group(0) @binding(6) var<storage, read> biases: array<f32>; // [N_EXPERTS]

fn bias(id: u32) -> f32 {
    return biases[id];
}
