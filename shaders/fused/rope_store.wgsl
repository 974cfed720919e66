// x holds queries [Q_WIDTH], keys [K_WIDTH] and values [V_WIDTH] of each token side by side: queries are
// turned into y, keys are turned into their cache, values go into theirs as they are.
override WG: u32;
override Q_WIDTH: u32;
override K_WIDTH: u32;
override V_WIDTH: u32;

@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [n, Q_WIDTH]
@group(0) @binding(4) var<storage, read_write> keys: array<f32>; // [context, K_WIDTH]
@group(0) @binding(5) var<storage, read_write> values: array<f32>; // [context, V_WIDTH]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let col = flat_group(group, count) * WG + local;
    let row = group.z * (Q_WIDTH + K_WIDTH + V_WIDTH);
    let pos = run.pos + group.z;
    if (col < Q_WIDTH) {
        y[group.z * Q_WIDTH + col] = turned(row, col, pos);
    } else if (col < Q_WIDTH + K_WIDTH) {
        keys[pos * K_WIDTH + col - Q_WIDTH] = turned(row, col, pos);
    } else if (col < Q_WIDTH + K_WIDTH + V_WIDTH) {
        values[pos * V_WIDTH + col - Q_WIDTH - K_WIDTH] = x[row + col];
    }
}
