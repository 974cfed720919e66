// Similarities are divided by |q| |k|.
var<workgroup> q_squares: array<f32, SHARE>;

fn prepare_lengths(local: u32) {
    workgroupBarrier();
    if (local < SHARE) {
        var sum = 0.0;
        for (var i = 0u; i < QUADS; i += 1u) {
            let a = queries[local * QUADS + i];
            sum += dot(a, a);
        }
        q_squares[local] = sum;
    }
}

// Of |k|^2.
fn length_term(four: mat4x4<f32>) -> vec4<f32> {
    return vec4(dot(four[0], four[0]), dot(four[1], four[1]), dot(four[2], four[2]), dot(four[3], four[3]));
}

fn divided(sum: vec4<f32>, squares: vec4<f32>, h: u32) -> vec4<f32> {
    return sum / sqrt(max(q_squares[h] * squares, vec4(1e-24)));
}
