// y = function(gate . x) * (up . x) for one token; w stacks gate [WIDTH, COLS] on up [WIDTH, COLS]. LANES
// invocations to 2 rows of each.
override WIDTH: u32;

@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [1, WIDTH]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let rows = 2u * (flat_group(group, count) * (WG / LANES) + local / LANES) + vec2(0u, 1u);
    var sums = vec4<f32>();
    if (rows.x < WIDTH) {
        let here = min(rows, vec2(WIDTH - 1u));
        sums = row_dots(vec4(here, WIDTH + here), 0u, local % LANES);
    }
    sums = norm_scale(local) * reduce_sums(sums, local);
    for (var i = local % LANES; i < 2u; i += LANES) {
        if (rows[i] < WIDTH) {
            y[rows[i]] = function(sums[i]) * sums[2u + i];
        }
    }
}
