// Keys and values are kept as they come, two neighbours at a time.
@group(0) @binding(6) var<storage, read_write> keys: array<vec2<f32>>; // [context, K_WIDTH / 2]
@group(0) @binding(7) var<storage, read_write> values: array<vec2<f32>>; // [context, V_WIDTH / 2]

fn keep_keys(at: u32, two: vec2<f32>) {
    keys[at] = two;
}

fn keep_values(at: u32, two: vec2<f32>) {
    values[at] = two;
}
