// -|q - k|^2, of four keys
fn prepare(head: u32, local: u32) {}

fn similarity4(query: u32, key: vec4<u32>) -> vec4<f32> {
    var sums = vec4<f32>();
    for (var i = 0u; i < QUADS; i += 1u) {
        let a = q[query * QUADS + i];
        let at = key * QUADS + i;
        sums += vec4(
            square(a - keys[at.x]), square(a - keys[at.y]), square(a - keys[at.z]), square(a - keys[at.w]));
    }
    return -sums;
}

fn square(v: vec4<f32>) -> f32 {
    return dot(v, v);
}
