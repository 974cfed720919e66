// Signed bytes q with an f16 d per group of 32: w = d * q.
@group(0) @binding(1) var<storage, read> quants: array<u32>; // [ROWS, COLS] bytes
@group(0) @binding(2) var<storage, read> scales: array<u32>; // [ROWS, COLS / 32] halves

fn columns(unit: u32) -> vec2<u32> {
    return vec2(8u * unit, 8u * unit + 4u);
}

fn signed_bytes(word: u32) -> vec4<f32> {
    let high = bitcast<vec4<i32>>(vec4(word << 24u, word << 16u, word << 8u, word));
    return vec4<f32>(high >> vec4(24u));
}

fn scale_of(row: u32, group: u32) -> vec2<f32> {
    let i = row * (COLS / 32u) + group;
    let two = unpack2x16float(scales[i / 2u]);
    return vec2(select(two.x, two.y, (i & 1u) == 1u), 0.0);
}

fn unpack8(row: u32, unit: u32, scale: vec2<f32>) -> mat2x4<f32> {
    let i = row * (COLS / 4u) + 2u * unit;
    return scale.x * mat2x4(signed_bytes(quants[i]), signed_bytes(quants[i + 1u]));
}
