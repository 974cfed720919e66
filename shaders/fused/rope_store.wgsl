// x holds queries [Q_WIDTH], keys [K_WIDTH] and values [V_WIDTH] of each token side by side: queries are
// turned into y, keys are turned into their cache, values go into theirs as they are. An invocation has two neighbours; all
// widths are even.
override WG: u32;
override Q_WIDTH: u32;
override K_WIDTH: u32;
override V_WIDTH: u32;

@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [n, Q_WIDTH]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let col = 2u * (flat_group(group, count) * WG + local);
    let row = group.z * (Q_WIDTH + K_WIDTH + V_WIDTH);
    let pos = run.pos + group.z;
    if (col < Q_WIDTH) {
        let two = turned2(row, col, pos);
        y[group.z * Q_WIDTH + col] = two.x;
        y[group.z * Q_WIDTH + col + 1u] = two.y;
    } else if (col < Q_WIDTH + K_WIDTH) {
        keep_keys(pos, col - Q_WIDTH, turned2(row, col, pos));
    } else if (col < Q_WIDTH + K_WIDTH + V_WIDTH) {
        keep_values(pos, col - Q_WIDTH - K_WIDTH, vec2(x[row + col], x[row + col + 1u]));
    }
}

fn turned2(row: u32, col: u32, pos: u32) -> vec2<f32> {
    return vec2(turned(row, col, pos), turned(row, col + 1u, pos));
}
