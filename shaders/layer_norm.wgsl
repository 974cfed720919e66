// y = (x - mean(x)) / sqrt(var(x) + EPS) * w (+ bias), one workgroup to a row (Ba et al. 2016).
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
    var total = 0.0;
    for (var col = local; col < WIDTH; col += WG) {
        total += x[row + col];
    }
    let mean = reduce_sums(vec4(total, 0.0, 0.0, 0.0), local).x / f32(WIDTH);
    var squares = 0.0;
    for (var col = local; col < WIDTH; col += WG) {
        let apart = x[row + col] - mean;
        squares += apart * apart;
    }
    let sum = reduce_sums(vec4(squares, 0.0, 0.0, 0.0), local).x;
    let scale = inverseSqrt(sum / f32(WIDTH) + EPS);
    for (var col = local; col < WIDTH; col += WG) {
        y[row + col] = added(scaled((x[row + col] - mean) * scale, col), col);
    }
}
