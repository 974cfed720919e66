// y = x / sqrt(mean(x^2) + EPS) * w, one workgroup to a row (Zhang & Sennrich 2019).
override WIDTH: u32;
override EPS: f32;

@group(0) @binding(1) var<storage, read> x: array<f32>; // [n, WIDTH]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [n, WIDTH]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = group.z * WIDTH;
    var squares = 0.0;
    for (var col = local; col < WIDTH; col += WG) {
        squares += x[row + col] * x[row + col];
    }
    let sum = reduce_sums(vec4(squares, 0.0, 0.0, 0.0), local).x;
    let scale = inverseSqrt(sum / f32(WIDTH) + EPS);
    for (var col = local; col < WIDTH; col += WG) {
        y[row + col] = scaled(x[row + col] * scale, col);
    }
}
