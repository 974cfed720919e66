// Linear for one token: y[col] = dot(w[row], x), LANES invocations to 4 rows.
override ROW0: u32; // column of y that row 0 belongs to
override WIDTH: u32; // columns of y

@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [1, WIDTH]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let flat = flat_group(group, count);
    let rows = 4u * (flat * (WG / LANES) + local / LANES) + vec4(0u, 1u, 2u, 3u);
    var sums = vec4<f32>();
    if (rows.x < ROWS) {
        sums = row_dots(min(rows, vec4(ROWS - 1u)), 0u, local % LANES);
    }
    sums = norm_scale(local) * reduce_sums(sums, local);
    var values = vec4<f32>();
    for (var i = local % LANES; i < 4u; i += LANES) {
        if (rows[i] < ROWS) {
            values[i] = finish(sums[i], 0u, ROW0 + rows[i]);
            y[ROW0 + rows[i]] = values[i];
        }
    }
    tail(values, ROW0 + rows, flat, local);
}
