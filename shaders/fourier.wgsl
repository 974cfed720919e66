// Cosines of the position, then sines, from the table that rotations use.
override WG: u32;
override WIDTH: u32; // twice the frequencies

@group(0) @binding(1) var<storage, read> turns: array<vec2<f32>>; // [context, WIDTH / 2] (cos, sin)
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [n, WIDTH]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let col = flat_group(group, count) * WG + local;
    let half = WIDTH / 2u;
    if (col < WIDTH) {
        let turn = turns[(run.pos + group.z) * half + col % half];
        y[group.z * WIDTH + col] = select(turn.y, turn.x, col < half);
    }
}
