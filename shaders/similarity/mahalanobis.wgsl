// -sum of m_c * (q_c - k_c)^2, m being the head's diagonal metric.
override DIAGONAL_MAP: u32;
override QUADS: u32 = HEAD_DIM / 4u;

@group(0) @binding(6) var<storage, read> diagonals: array<f32>; // [N_HEADS, HEAD_DIM]

var<workgroup> diagonal: array<vec4<f32>, QUADS>;

fn prepare(head: u32, local: u32) {
    for (var i = local; i < QUADS; i += WG) {
        let at = head * HEAD_DIM + 4u * i;
        diagonal[i] = vec4(
            mapped(diagonals[at], DIAGONAL_MAP), mapped(diagonals[at + 1u], DIAGONAL_MAP),
            mapped(diagonals[at + 2u], DIAGONAL_MAP), mapped(diagonals[at + 3u], DIAGONAL_MAP));
    }
    workgroupBarrier();
}

fn similarity(query: u32, key: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < QUADS; i += 1u) {
        let apart = q[query * QUADS + i] - keys[key * QUADS + i];
        sum += dot(diagonal[i] * apart, apart);
    }
    return -sum;
}
