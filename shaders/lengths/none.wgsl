fn prepare_lengths(local: u32) {}

fn length_term(four: mat4x4<f32>) -> vec4<f32> {
    return vec4<f32>();
}

fn divided(sum: vec4<f32>, squares: vec4<f32>, h: u32) -> vec4<f32> {
    return sum;
}
