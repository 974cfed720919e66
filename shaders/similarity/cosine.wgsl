// q . k / (|q| |k|), of SHARE queries with four keys a block
fn prepare(head: u32, local: u32) {}

fn similarities(query: u32, key: array<vec4<u32>, BLOCKS>) -> array<array<vec4<f32>, 4>, BLOCKS> {
    var sums = array<array<vec4<f32>, 4>, BLOCKS>();
    var q_squares = vec4<f32>();
    var squares = array<vec4<f32>, BLOCKS>();
    for (var i = 0u; i < QUADS; i += 1u) {
        var a = array<vec4<f32>, 4>();
        for (var h = 0u; h < SHARE; h += 1u) {
            a[h] = q[(query + h) * QUADS + i];
            q_squares[h] += dot(a[h], a[h]);
        }
        for (var b = 0u; b < BLOCKS; b += 1u) {
            let at = key[b] * QUADS + i;
            let four = mat4x4(key4(at.x), key4(at.y), key4(at.z), key4(at.w));
            squares[b] += vec4(
                dot(four[0], four[0]), dot(four[1], four[1]), dot(four[2], four[2]), dot(four[3], four[3]));
            for (var h = 0u; h < SHARE; h += 1u) {
                sums[b][h] += a[h] * four;
            }
        }
    }
    for (var b = 0u; b < BLOCKS; b += 1u) {
        for (var h = 0u; h < SHARE; h += 1u) {
            sums[b][h] /= sqrt(max(q_squares[h] * squares[b], vec4(1e-24)));
        }
    }
    return sums;
}
