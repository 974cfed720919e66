// -|q - k|^2
fn prepare(head: u32, local: u32) {}

fn term(h: u32, i: u32, four: mat4x4<f32>) -> vec4<f32> {
    let a = queries[h * QUADS + i];
    return -vec4(square(a - four[0]), square(a - four[1]), square(a - four[2]), square(a - four[3]));
}

fn square(v: vec4<f32>) -> f32 {
    return dot(v, v);
}
