// -sum of m_c * (q_c - k_c)^2, m being the head's diagonal metric, of four keys
override DIAGONAL_MAP: u32;

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

fn similarity4(query: u32, key: vec4<u32>) -> vec4<f32> {
    var sums = vec4<f32>();
    for (var i = 0u; i < QUADS; i += 1u) {
        let a = q[query * QUADS + i];
        let at = key * QUADS + i;
        let apart = array(a - keys[at.x], a - keys[at.y], a - keys[at.z], a - keys[at.w]);
        let m = diagonal[i];
        sums += vec4(
            dot(m * apart[0], apart[0]), dot(m * apart[1], apart[1]),
            dot(m * apart[2], apart[2]), dot(m * apart[3], apart[3]));
    }
    return -sums;
}
