// Keys and values are kept as they come, two neighbours at a time.
@group(0) @binding(6) var<storage, read_write> keys: array<vec2<f32>>;
@group(0) @binding(7) var<storage, read_write> values: array<vec2<f32>>;

fn keep_keys(pos: u32, col: u32, two: vec2<f32>) {
    keys[place(pos, col) / 2u] = two;
}

fn keep_values(pos: u32, col: u32, two: vec2<f32>) {
    values[place(pos, col) / 2u] = two;
}
