// -|q - k|^2, of SHARE queries with four keys a block
fn prepare(head: u32, local: u32) {}

fn similarities(query: u32, key: array<vec4<u32>, BLOCKS>) -> array<array<vec4<f32>, 4>, BLOCKS> {
    var sums = array<array<vec4<f32>, 4>, BLOCKS>();
    for (var i = 0u; i < QUADS; i += 1u) {
        var a = array<vec4<f32>, 4>();
        for (var h = 0u; h < SHARE; h += 1u) {
            a[h] = q[(query + h) * QUADS + i];
        }
        for (var b = 0u; b < BLOCKS; b += 1u) {
            let at = key[b] * QUADS + i;
            let four = array(key4(at.x), key4(at.y), key4(at.z), key4(at.w));
            for (var h = 0u; h < SHARE; h += 1u) {
                sums[b][h] -= vec4(
                    square(a[h] - four[0]), square(a[h] - four[1]),
                    square(a[h] - four[2]), square(a[h] - four[3]));
            }
        }
    }
    return sums;
}

fn square(v: vec4<f32>) -> f32 {
    return dot(v, v);
}
