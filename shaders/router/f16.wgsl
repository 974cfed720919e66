override N_LOGITS: u32;

@group(0) @binding(8) var<storage, read> routers: array<u32>; // [N_LOGITS, WIDTH] halves

fn router(expert: u32, col: u32) -> f32 {
    let i = expert * WIDTH + col;
    let two = unpack2x16float(routers[i / 2u]);
    return select(two.x, two.y, (i & 1u) == 1u);
}
