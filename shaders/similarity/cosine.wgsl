// q . k / (|q| |k|), of SHARE queries with four keys
fn prepare(head: u32, local: u32) {}

fn similarities(query: u32, key: vec4<u32>) -> array<vec4<f32>, 4> {
    var sums = array<vec4<f32>, 4>();
    var q_squares = vec4<f32>();
    var squares = vec4<f32>();
    for (var i = 0u; i < QUADS; i += 1u) {
        let at = key * QUADS + i;
        let four = mat4x4(key4(at.x), key4(at.y), key4(at.z), key4(at.w));
        squares += vec4(dot(four[0], four[0]), dot(four[1], four[1]), dot(four[2], four[2]), dot(four[3], four[3]));
        for (var h = 0u; h < SHARE; h += 1u) {
            let a = q[(query + h) * QUADS + i];
            sums[h] += a * four;
            q_squares[h] += dot(a, a);
        }
    }
    for (var h = 0u; h < SHARE; h += 1u) {
        sums[h] /= sqrt(max(q_squares[h] * squares, vec4(1e-24)));
    }
    return sums;
}
