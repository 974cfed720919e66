// Keys and values are kept as f16, two neighbours at a time.
@group(0) @binding(6) var<storage, read_write> keys: array<u32>; // [context, K_WIDTH / 2]
@group(0) @binding(7) var<storage, read_write> values: array<u32>; // [context, V_WIDTH / 2]

// The largest that there is: what lies beyond is anything, by WGSL.
const LARGEST = vec2(65504.0);

fn keep_keys(at: u32, two: vec2<f32>) {
    keys[at] = pack2x16float(clamp(two, -LARGEST, LARGEST));
}

fn keep_values(at: u32, two: vec2<f32>) {
    values[at] = pack2x16float(clamp(two, -LARGEST, LARGEST));
}
