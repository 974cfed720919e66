// y = function(gate . x) * (up . x) of one token for each of its experts, and for a shared one: the grid's third
// dimension counts them, the shared one last. LANES invocations to 2 rows of each matrix. w stacks the shared expert's
// gate and up, then all experts' gates, then all their ups, [WIDTH, COLS] each.
override WIDTH: u32;
override SHARED: bool;

@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [TOP_K (+ 1), WIDTH]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let scale = norm_scale(local);
    find_experts(scale, local);
    let flat = flat_group(group, count);
    if (flat == 0u && group.z == 0u) {
        tell_experts(local);
    }
    var gate = 0u;
    var up = WIDTH;
    if (group.z < TOP_K) {
        gate = select(0u, 2u * WIDTH, SHARED) + chosen(group.z) * WIDTH;
        up = gate + N_EXPERTS * WIDTH;
    }
    let rows = 2u * (flat * (WG / LANES) + local / LANES) + vec2(0u, 1u);
    var sums = vec4<f32>();
    if (rows.x < WIDTH) {
        let here = min(rows, vec2(WIDTH - 1u));
        sums = row_dots(vec4(gate + here, up + here), 0u, local % LANES);
    }
    sums = scale * reduce_sums(sums, local);
    for (var i = local % LANES; i < 2u; i += LANES) {
        if (rows[i] < WIDTH) {
            y[group.z * WIDTH + rows[i]] = function(sums[i]) * sums[2u + i];
        }
    }
}
