// cache[pos + i] = x[i]
override WG: u32;
override WIDTH: u32;

@group(0) @binding(1) var<storage, read> x: array<f32>; // [n, WIDTH]
@group(0) @binding(2) var<storage, read_write> cache: array<f32>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let col = flat_group(group, count) * WG + local;
    if (col < WIDTH) {
        cache[place(run.pos + group.z, col)] = x[group.z * WIDTH + col];
    }
}
