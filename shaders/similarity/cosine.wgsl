// q . k / (|q| |k|), of four keys
fn prepare(head: u32, local: u32) {}

fn similarity4(query: u32, key: vec4<u32>) -> vec4<f32> {
    var products = vec4<f32>();
    var squares = vec4<f32>();
    var square = 0.0;
    for (var i = 0u; i < QUADS; i += 1u) {
        let a = q[query * QUADS + i];
        let at = key * QUADS + i;
        let b = array(keys[at.x], keys[at.y], keys[at.z], keys[at.w]);
        products += vec4(dot(a, b[0]), dot(a, b[1]), dot(a, b[2]), dot(a, b[3]));
        squares += vec4(dot(b[0], b[0]), dot(b[1], b[1]), dot(b[2], b[2]), dot(b[3], b[3]));
        square += dot(a, a);
    }
    return products / sqrt(max(square * squares, vec4(1e-24)));
}
