// q . k, of four keys
fn prepare(head: u32, local: u32) {}

fn similarity4(query: u32, key: vec4<u32>) -> vec4<f32> {
    var sums = vec4<f32>();
    for (var i = 0u; i < QUADS; i += 1u) {
        let a = q[query * QUADS + i];
        let at = key * QUADS + i;
        sums += a * mat4x4(keys[at.x], keys[at.y], keys[at.z], keys[at.w]);
    }
    return sums;
}
