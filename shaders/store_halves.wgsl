// cache[pos + i] = x[i], as f16
override WG: u32;
override WIDTH: u32; // even

@group(0) @binding(1) var<storage, read> x: array<f32>; // [n, WIDTH]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let col = 2u * (flat_group(group, count) * WG + local);
    if (col < WIDTH) {
        let at = group.z * WIDTH + col;
        keep_keys(run.pos + group.z, col, vec2(x[at], x[at + 1u]));
    }
}
