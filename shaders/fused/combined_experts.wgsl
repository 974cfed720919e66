// y = sum of weight_i * (w_i . x_i) over the experts of one token (+ w . x of a shared one) + residual, LANES
// invocations to 4 rows. w stacks the shared expert's [WIDTH, COLS] on all experts'.
override WIDTH: u32;
override TOP_K: u32;
override SHARED: bool;

@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [1, WIDTH]
@group(0) @binding(8) var<storage, read> routing: array<f32>; // [1, 2 * TOP_K]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let flat = flat_group(group, count);
    let cols = 4u * (flat * (WG / LANES) + local / LANES) + vec4(0u, 1u, 2u, 3u);
    var sums = vec4<f32>();
    if (cols.x < WIDTH) {
        let here = min(cols, vec4(WIDTH - 1u));
        let first = select(0u, WIDTH, SHARED);
        for (var i = 0u; i < TOP_K; i += 1u) {
            let rows = first + u32(routing[i]) * WIDTH + here;
            sums += routing[TOP_K + i] * row_dots(rows, i, local % LANES);
        }
        if (SHARED) {
            sums += row_dots(here, TOP_K, local % LANES);
        }
    }
    sums = reduce_sums(sums, local);
    var values = vec4<f32>();
    for (var i = local % LANES; i < 4u; i += LANES) {
        if (cols[i] < WIDTH) {
            values[i] = finish(sums[i], 0u, cols[i]);
            y[cols[i]] = values[i];
        }
    }
    tail(values, cols, flat, local);
}
