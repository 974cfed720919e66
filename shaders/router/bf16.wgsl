override N_LOGITS: u32;

@group(0) @binding(8) var<storage, read> routers: array<u32>; // [N_LOGITS, WIDTH] upper halves of floats

fn router(expert: u32, col: u32) -> f32 {
    let i = expert * WIDTH + col;
    return bitcast<f32>((routers[i / 2u] >> (16u * (i & 1u))) << 16u);
}
