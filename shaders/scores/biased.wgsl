@group(0) @binding(2) var<storage, read> biases: array<f32>; // [N_EXPERTS]

fn bias(id: u32) -> f32 {
    return biases[id];
}
