// Turns every head of each row by its position, one invocation to an element.
override WG: u32;
override WIDTH: u32;

@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [n, WIDTH]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let col = flat_group(group, count) * WG + local;
    if (col < WIDTH) {
        let row = group.z * WIDTH;
        y[row + col] = turned(row, col, run.pos + group.z);
    }
}
