// y = sum of weight_i * x_i over the experts of each token.
override WG: u32;
override WIDTH: u32;
override TOP_K: u32;

@group(0) @binding(1) var<storage, read> x: array<f32>; // [n, TOP_K * WIDTH]
@group(0) @binding(2) var<storage, read> routing: array<f32>; // [n, 2 * TOP_K]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [n, WIDTH]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let col = flat_group(group, count) * WG + local;
    if (col >= WIDTH) {
        return;
    }
    var sum = 0.0;
    for (var i = 0u; i < TOP_K; i += 1u) {
        let weight = routing[group.z * 2u * TOP_K + TOP_K + i];
        sum += weight * x[(group.z * TOP_K + i) * WIDTH + col];
    }
    y[group.z * WIDTH + col] = sum;
}
