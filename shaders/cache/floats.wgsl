// Keys and values, four columns at a time, as they came.
@group(0) @binding(2) var<storage, read> keys: array<vec4<f32>>; // [N_KV_HEADS, CONTEXT, QUADS]
@group(0) @binding(3) var<storage, read> values: array<vec4<f32>>; // [N_KV_HEADS, CONTEXT, QUADS]

fn key4(at: u32) -> vec4<f32> {
    return keys[at];
}

fn value4(at: u32) -> vec4<f32> {
    return values[at];
}
