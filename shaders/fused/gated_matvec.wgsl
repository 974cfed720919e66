// y = function(gate . x) * (up . x) for one token; w stacks gate [WIDTH, COLS] on up [WIDTH, COLS].
override WIDTH: u32;

@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [1, WIDTH]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = flat_group(group, count) * (WG / LANES) + local / LANES;
    var gate = 0.0;
    var up = 0.0;
    if (row < WIDTH) {
        gate = row_dot(row, 0u, local % LANES);
        up = row_dot(WIDTH + row, 0u, local % LANES);
    }
    gate = reduce_sum(gate, local);
    up = reduce_sum(up, local);
    if (row < WIDTH && local % LANES == 0u) {
        y[row] = function(gate) * up;
    }
}
