// y[i] = w[tokens[i]], one invocation to a unit. Tokens outside of rows ROW0 .. ROW0 + ROWS are another
// part's.
override WG: u32;
override ROW0: u32;

@group(0) @binding(3) var<storage, read> tokens: array<u32>; // [n]
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [n, COLS]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let unit = flat_group(group, count) * WG + local;
    let token = tokens[group.z];
    if (unit >= UNITS || token < ROW0 || token >= ROW0 + ROWS) {
        return;
    }
    let row = token - ROW0;
    let w = unpack8(row, unit, scale_of(row, unit / 4u));
    let at = columns(unit);
    write4(w[0], group.z * COLS, at.x);
    write4(w[1], group.z * COLS, at.y);
}

fn write4(values: vec4<f32>, row: u32, col: u32) {
    var four = values;
    for (var i = 0u; i < 4u; i += 1u) {
        if (col + i < COLS) {
            y[row + col + i] = four[i];
        }
    }
}
