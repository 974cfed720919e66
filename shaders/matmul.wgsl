// Linear for many tokens: one invocation to a weight row and a block of 8 tokens.
override WG: u32;
override ROW0: u32; // column of y that row 0 belongs to
override WIDTH: u32; // columns of y

@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [n, WIDTH]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = flat_group(group, count) * WG + local;
    if (row >= ROWS) {
        return;
    }
    let token = 8u * group.z;
    let sums = row_dots(row, token);
    write4(sums[0], token, ROW0 + row);
    write4(sums[1], token + 4u, ROW0 + row);
}

fn write4(values: vec4<f32>, token: u32, col: u32) {
    write(values.x, token, col);
    write(values.y, token + 1u, col);
    write(values.z, token + 2u, col);
    write(values.w, token + 3u, col);
}

fn write(value: f32, token: u32, col: u32) {
    if (token < run.n) {
        y[token * WIDTH + col] = finish(value, token, col);
    }
}
