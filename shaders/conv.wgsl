// Causal depthwise convolution: y[p] = sum of w[j] * x[p - (TAPS - 1) + j], column by column; rows before
// position 0 are 0.
override WG: u32;
override WIDTH: u32;
override TAPS: u32;

@group(0) @binding(1) var<storage, read> x: array<f32>; // a cache
@group(0) @binding(2) var<storage, read> w: array<f32>; // [WIDTH, TAPS]
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
    let pos = run.pos + group.z;
    var sum = 0.0;
    for (var back = 0u; back < min(TAPS, pos + 1u); back += 1u) {
        sum += w[col * TAPS + TAPS - 1u - back] * x[place(pos - back, col)];
    }
    y[group.z * WIDTH + col] = added(sum, col);
}
