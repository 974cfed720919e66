// q . k, of SHARE queries with four keys
fn prepare(head: u32, local: u32) {}

fn similarities(query: u32, key: vec4<u32>) -> array<vec4<f32>, 4> {
    var sums = array<vec4<f32>, 4>();
    for (var i = 0u; i < QUADS; i += 1u) {
        let at = key * QUADS + i;
        let four = mat4x4(key4(at.x), key4(at.y), key4(at.z), key4(at.w));
        for (var h = 0u; h < SHARE; h += 1u) {
            sums[h] += q[(query + h) * QUADS + i] * four;
        }
    }
    return sums;
}
