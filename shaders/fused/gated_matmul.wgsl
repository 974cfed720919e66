// y = function(gate . x) * (up . x) for many tokens; w stacks gate [WIDTH, COLS] on up [WIDTH, COLS].
override WG: u32;
override WIDTH: u32;

@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [n, WIDTH]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    // Neighbours have neighbouring rows.
    let rows = (2u * flat_group(group, count) + vec2(0u, 1u)) * ROW_LANES + local % ROW_LANES;
    let token = 8u * (WG / ROW_LANES * group.z + local / ROW_LANES);
    let here = min(rows, vec2(WIDTH - 1u));
    let dots = row_dots(vec4(here, WIDTH + here), rows.x < WIDTH, token, local);
    if (rows.x < WIDTH) {
        write4(dots.first[0], dots.first[2], token, rows.x);
        write4(dots.second[0], dots.second[2], token + 4u, rows.x);
    }
    if (rows.y < WIDTH) {
        write4(dots.first[1], dots.first[3], token, rows.y);
        write4(dots.second[1], dots.second[3], token + 4u, rows.y);
    }
}

fn write4(gate: vec4<f32>, up: vec4<f32>, token: u32, col: u32) {
    write(gate.x, up.x, token, col);
    write(gate.y, up.y, token + 1u, col);
    write(gate.z, up.z, token + 2u, col);
    write(gate.w, up.w, token + 3u, col);
}

fn write(gate: f32, up: f32, token: u32, col: u32) {
    if (token < run.n) {
        y[token * WIDTH + col] = function(gate) * up;
    }
}
