// y = function(gate . x) * (up . x) for many tokens; w stacks gate [WIDTH, COLS] on up [WIDTH, COLS].
override WG: u32;
override WIDTH: u32;

@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [n, WIDTH]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = flat_group(group, count) * WG + local;
    if (row >= WIDTH) {
        return;
    }
    let token = 8u * group.z;
    let gate = row_dots(row, token);
    let up = row_dots(WIDTH + row, token);
    write4(gate[0], up[0], token, row);
    write4(gate[1], up[1], token + 4u, row);
}

fn write4(gate: vec4<f32>, up: vec4<f32>, token: u32, col: u32) {
    write(gate.x, up.x, token, col);
    write(gate.y, up.y, token + 1u, col);
    write(gate.z, up.z, token + 2u, col);
    write(gate.w, up.w, token + 3u, col);
}

fn write(gate: f32, up: f32, token: u32, col: u32) {
    if (token < run.n) {
        y[token * WIDTH + col] = function(gate) * up;
    }
}
