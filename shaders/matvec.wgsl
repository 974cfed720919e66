// Linear for one token: y[col] = dot(w[row], x), LANES invocations to a row.
override ROW0: u32; // column of y that row 0 belongs to
override WIDTH: u32; // columns of y

@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [1, WIDTH]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = flat_group(group, count) * (WG / LANES) + local / LANES;
    var sum = 0.0;
    if (row < ROWS) {
        sum = row_dot(row, 0u, local % LANES);
    }
    sum = reduce_sum(sum, local);
    if (row < ROWS && local % LANES == 0u) {
        y[ROW0 + row] = finish(sum, 0u, ROW0 + row);
    }
}
