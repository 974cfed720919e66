// Experts that a dispatch before this one chose.
override N_EXPERTS: u32;
override TOP_K: u32;

@group(0) @binding(5) var<storage, read> routing: array<f32>; // [1, 2 * TOP_K]

fn find_experts(scale: f32, local: u32) {}

fn chosen(i: u32) -> u32 {
    return u32(routing[i]);
}

fn tell_experts(local: u32) {}
