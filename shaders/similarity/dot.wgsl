// q . k
fn prepare(head: u32, local: u32) {}

fn term(h: u32, i: u32, four: mat4x4<f32>) -> vec4<f32> {
    return queries[h * QUADS + i] * four;
}
