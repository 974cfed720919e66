// A key outside of the head's ball scores the same for all queries: so low that one key inside makes its
// weight 0, and finite, for queries that see no key inside. Mirrors `Balls::OUTSIDE` in kernels/src/op/metric.rs.
const OUTSIDE: f32 = -1e30;
override RADIUS_MAP: u32;

@group(0) @binding(7) var<storage, read> origins: array<vec4<f32>>; // [N_HEADS, HEAD_DIM / 4]
@group(0) @binding(8) var<storage, read> radii: array<f32>; // [N_HEADS]

fn kept(score: f32, key: u32, head: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < QUADS; i += 1u) {
        let apart = keys[key * QUADS + i] - origins[head * QUADS + i];
        sum += dot(apart, apart);
    }
    if (sqrt(sum) > mapped(radii[head], RADIUS_MAP)) {
        return OUTSIDE;
    }
    return score;
}
