// -sum of m_c * (q_c - k_c)^2, m being the head's diagonal metric, of SHARE queries with four keys
override DIAGONAL_MAP: u32;
override DIAGONALS: u32 = SHARE * QUADS;

@group(0) @binding(6) var<storage, read> diagonals: array<f32>; // [N_HEADS, HEAD_DIM]

var<workgroup> diagonal: array<vec4<f32>, DIAGONALS>; // [SHARE, QUADS]

fn prepare(head: u32, local: u32) {
    for (var i = local; i < DIAGONALS; i += WG) {
        let at = head * HEAD_DIM + 4u * i;
        diagonal[i] = vec4(
            mapped(diagonals[at], DIAGONAL_MAP), mapped(diagonals[at + 1u], DIAGONAL_MAP),
            mapped(diagonals[at + 2u], DIAGONAL_MAP), mapped(diagonals[at + 3u], DIAGONAL_MAP));
    }
    workgroupBarrier();
}

fn similarities(query: u32, key: vec4<u32>) -> array<vec4<f32>, 4> {
    var sums = array<vec4<f32>, 4>();
    for (var i = 0u; i < QUADS; i += 1u) {
        let at = key * QUADS + i;
        let four = array(key4(at.x), key4(at.y), key4(at.z), key4(at.w));
        for (var h = 0u; h < SHARE; h += 1u) {
            let a = q[(query + h) * QUADS + i];
            let m = diagonal[h * QUADS + i];
            sums[h] -= vec4(
                square(m, a - four[0]), square(m, a - four[1]), square(m, a - four[2]), square(m, a - four[3]));
        }
    }
    return sums;
}

fn square(m: vec4<f32>, v: vec4<f32>) -> f32 {
    return dot(m * v, v);
}
