// ExpertLinear for one token: the grid's third dimension is the i-th of its experts, LANES invocations to 4
// rows. The bound part holds rows ROW0 .. ROW0 + ROWS of all experts' rows below one another.
override ROW0: u32;
override AT: u32; // row of the bound buffer that the first of them is
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
    let cols = 4u * (flat_group(group, count) * (WG / LANES) + local / LANES) + vec4(0u, 1u, 2u, 3u);
    let rows = u32(routing[group.z]) * WIDTH + cols;
    let is_here = (cols < vec4(WIDTH)) & (rows >= vec4(ROW0)) & (rows < vec4(ROW0 + ROWS));
    var sums = vec4<f32>();
    if (any(is_here)) {
        let here = clamp(rows, vec4(ROW0), vec4(ROW0 + ROWS - 1u)) - ROW0 + AT;
        sums = row_dots(here, select(0u, group.z, OWN_INPUT), local % LANES);
    }
    sums = reduce_sums(sums, local);
    for (var i = local % LANES; i < 4u; i += LANES) {
        if (is_here[i]) {
            y[group.z * WIDTH + cols[i]] = sums[i];
        }
    }
}
