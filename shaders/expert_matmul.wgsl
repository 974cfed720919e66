// ExpertLinear for many tokens: one invocation to 4 rows of an expert and 8 of its tokens. The
// bound part holds rows ROW0 .. ROW0 + ROWS of all experts' rows below one another.
override WG: u32;
override ROW0: u32;
override AT: u32; // row of the bound buffer that the first of them is
override WIDTH: u32; // rows of one expert
override OWN_INPUT: bool; // whether each expert has a row of x to itself

@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [n, TOP_K * WIDTH]
@group(0) @binding(5) var<storage, read> groups: array<u32>; // see experts.wgsl

// First entry in order after this expert's.
var<private> end: u32;

// The row of x behind an entry of order; past the end, the last one's again.
fn source(entry: u32) -> u32 {
    let place = groups[ORDER + min(entry, end - 1u)];
    return select(place / TOP_K, place, OWN_INPUT);
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let expert = groups[BLOCKS + 2u * group.z];
    if (expert == N_EXPERTS) {
        return;
    }
    // Neighbours have neighbouring rows.
    let cols = (4u * flat_group(group, count) + vec4(0u, 1u, 2u, 3u)) * ROW_LANES + local % ROW_LANES;
    let rows = expert * WIDTH + cols;
    let is_here = (cols < vec4(WIDTH)) & (rows >= vec4(ROW0)) & (rows < vec4(ROW0 + ROWS));
    let entry = groups[BLOCKS + 2u * group.z + 1u] + 8u * (local / ROW_LANES);
    end = groups[expert + 1u];
    let dots = row_dots(
        clamp(rows, vec4(ROW0), vec4(ROW0 + ROWS - 1u)) - ROW0 + AT, any(is_here), entry, local);
    for (var i = 0u; i < 4u; i += 1u) {
        if (is_here[i]) {
            write4(dots.first[i], entry, cols[i]);
            write4(dots.second[i], entry + 4u, cols[i]);
        }
    }
}

fn write4(values: vec4<f32>, entry: u32, col: u32) {
    write(values.x, entry, col);
    write(values.y, entry + 1u, col);
    write(values.z, entry + 2u, col);
    write(values.w, entry + 3u, col);
}

fn write(value: f32, entry: u32, col: u32) {
    if (entry < end) {
        y[groups[ORDER + entry] * WIDTH + col] = value;
    }
}
