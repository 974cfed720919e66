// Keys and values are kept as f16, two neighbours at a time.
@group(0) @binding(6) var<storage, read_write> keys: array<u32>;
@group(0) @binding(7) var<storage, read_write> values: array<u32>;

// The largest that there is: what lies beyond is anything, by WGSL.
const LARGEST = vec2(65504.0);

fn keep_keys(pos: u32, col: u32, two: vec2<f32>) {
    keys[place(pos, col) / 2u] = pack2x16float(clamp(two, -LARGEST, LARGEST));
}

fn keep_values(pos: u32, col: u32, two: vec2<f32>) {
    values[place(pos, col) / 2u] = pack2x16float(clamp(two, -LARGEST, LARGEST));
}
