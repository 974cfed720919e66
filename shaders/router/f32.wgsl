override N_LOGITS: u32;

@group(0) @binding(8) var<storage, read> routers: array<f32>; // [N_LOGITS, WIDTH]

fn router(expert: u32, col: u32) -> f32 {
    return routers[expert * WIDTH + col];
}
