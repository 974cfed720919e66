// ExpertLinear for one token: the grid's third dimension is the i-th of its experts, LANES invocations to a
// row. The bound part holds rows ROW0 .. ROW0 + ROWS of all experts' rows below one another.
override ROW0: u32;
override WIDTH: u32; // rows of one expert
override OWN_INPUT: bool; // whether each expert has a row of x to itself

@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [top_k, WIDTH]
@group(0) @binding(5) var<storage, read> routing: array<f32>; // [1, 2 * top_k]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let col = flat_group(group, count) * (WG / LANES) + local / LANES;
    let row = u32(routing[group.z]) * WIDTH + col;
    let is_here = col < WIDTH && row >= ROW0 && row - ROW0 < ROWS;
    var sum = 0.0;
    if (is_here) {
        sum = row_dot(row - ROW0, select(0u, group.z, OWN_INPUT), local % LANES);
    }
    sum = reduce_sum(sum, local);
    if (is_here && local % LANES == 0u) {
        y[group.z * WIDTH + col] = sum;
    }
}
