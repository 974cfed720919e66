// -sum of m_c * (q_c - k_c)^2, m being the head's diagonal metric
override DIAGONAL_MAP: u32;

@group(0) @binding(6) var<storage, read> diagonals: array<f32>; // [N_HEADS, HEAD_DIM]

var<workgroup> diagonal: array<vec4<f32>, ALL_QUADS>; // [SHARE, QUADS]

fn prepare(head: u32, local: u32) {
    for (var i = local; i < ALL_QUADS; i += WG) {
        let at = head * HEAD_DIM + 4u * i;
        diagonal[i] = vec4(
            mapped(diagonals[at], DIAGONAL_MAP), mapped(diagonals[at + 1u], DIAGONAL_MAP),
            mapped(diagonals[at + 2u], DIAGONAL_MAP), mapped(diagonals[at + 3u], DIAGONAL_MAP));
    }
}

fn term(h: u32, i: u32, four: mat4x4<f32>) -> vec4<f32> {
    let a = queries[h * QUADS + i];
    let m = diagonal[h * QUADS + i];
    return -vec4(square(m, a - four[0]), square(m, a - four[1]), square(m, a - four[2]), square(m, a - four[3]));
}

fn square(m: vec4<f32>, v: vec4<f32>) -> f32 {
    return dot(m * v, v);
}
