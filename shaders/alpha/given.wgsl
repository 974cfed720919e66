override ALPHA_MAP: u32;

@group(0) @binding(5) var<storage, read> alphas: array<f32>; // [N_HEADS]

fn alpha(head: u32) -> f32 {
    return mapped(alphas[head], ALPHA_MAP);
}
