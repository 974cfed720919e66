// Keys and values, four columns at a time, as f16.
@group(0) @binding(2) var<storage, read> keys: array<vec2<u32>>; // [N_KV_HEADS, CONTEXT, QUADS]
@group(0) @binding(3) var<storage, read> values: array<vec2<u32>>; // [N_KV_HEADS, CONTEXT, QUADS]

fn key4(at: u32) -> vec4<f32> {
    return widened(keys[at]);
}

fn value4(at: u32) -> vec4<f32> {
    return widened(values[at]);
}

fn widened(halves: vec2<u32>) -> vec4<f32> {
    return vec4(unpack2x16float(halves.x), unpack2x16float(halves.y));
}
