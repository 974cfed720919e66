// Queries, keys and values of one token, whose weights are stacked: queries are turned into y, keys are turned into
// their cache, values go into theirs as they are. LANES invocations to 4 rows, which hold two whole pairs.
override Q_WIDTH: u32;
override K_WIDTH: u32;
override V_WIDTH: u32;
override HEAD_DIM: u32; // a multiple of 4
override PAIRS: u32; // even, unless INTERLEAVED
override INTERLEAVED: bool;

@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [1, Q_WIDTH]
@group(0) @binding(5) var<storage, read> turns: array<vec2<f32>>; // [context, PAIRS] (cos, sin)

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let rows = rows_of(flat_group(group, count) * (WG / LANES) + local / LANES);
    var sums = vec4<f32>();
    if (rows.x < ROWS) {
        sums = row_dots(min(rows, vec4(ROWS - 1u)), 0u, local % LANES);
    }
    sums = norm_scale(local) * reduce_sums(sums, local);
    if (rows.x < Q_WIDTH + K_WIDTH) {
        sums = turned(sums, rows.x % HEAD_DIM);
    }
    for (var i = local % LANES; i < 2u; i += LANES) {
        put(rows[2u * i], vec2(sums[2u * i], sums[2u * i + 1u]));
    }
}

// Where halves of a head are paired, two rows of each half.
fn rows_of(block: u32) -> vec4<u32> {
    let first = 4u * block;
    let e = first % HEAD_DIM;
    if (INTERLEAVED || first >= Q_WIDTH + K_WIDTH || e >= 2u * PAIRS) {
        return first + vec4(0u, 1u, 2u, 3u);
    }
    return first - e + e / 2u + vec4(0u, 1u, PAIRS, PAIRS + 1u);
}

// `e` is the first row's place in its head.
fn turned(four: vec4<f32>, e: u32) -> vec4<f32> {
    if (INTERLEAVED) {
        let turn = mat2x2(turn_of(e / 2u), turn_of(e / 2u + 1u));
        return vec4(turn_pair(four.xy, turn[0]), turn_pair(four.zw, turn[1]));
    }
    let pairs = mat2x2(turn_pair(four.xz, turn_of(e)), turn_pair(four.yw, turn_of(e + 1u)));
    return vec4(pairs[0].x, pairs[1].x, pairs[0].y, pairs[1].y);
}

// Past the last pair nothing turns.
fn turn_of(pair: u32) -> vec2<f32> {
    if (pair >= PAIRS) {
        return vec2(1.0, 0.0);
    }
    return turns[run.pos * PAIRS + pair];
}

fn turn_pair(pair: vec2<f32>, turn: vec2<f32>) -> vec2<f32> {
    return pair * turn.x + vec2(-pair.y, pair.x) * turn.y;
}

// Two neighbours.
fn put(row: u32, two: vec2<f32>) {
    if (row < Q_WIDTH) {
        y[row] = two.x;
        y[row + 1u] = two.y;
    } else if (row < Q_WIDTH + K_WIDTH) {
        keep_keys(run.pos, row - Q_WIDTH, two);
    } else if (row < Q_WIDTH + K_WIDTH + V_WIDTH) {
        keep_values(run.pos, row - Q_WIDTH - K_WIDTH, two);
    }
}
