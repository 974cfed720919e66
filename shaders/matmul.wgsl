// Linear for many tokens: one invocation to 4 weight rows and 8 tokens.
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
    // Neighbours have neighbouring rows.
    let rows = (4u * flat_group(group, count) + vec4(0u, 1u, 2u, 3u)) * ROW_LANES + local % ROW_LANES;
    let token = 8u * (WG / ROW_LANES * group.z + local / ROW_LANES);
    let dots = row_dots(min(rows, vec4(ROWS - 1u)), rows.x < ROWS, token, local);
    for (var i = 0u; i < 4u && rows[i] < ROWS; i += 1u) {
        write4(dots.first[i], token, ROW0 + rows[i]);
        write4(dots.second[i], token + 4u, ROW0 + rows[i]);
    }
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
