// Bits with an f16 d per row: w = d where the bit is set, -d elsewhere.
@group(0) @binding(1) var<storage, read> quants: array<u32>; // [ROWS, COLS / 32] words
@group(0) @binding(2) var<storage, read> scales: array<u32>; // [ROWS] halves

fn columns(unit: u32) -> vec2<u32> {
    return vec2(8u * unit, 8u * unit + 4u);
}

fn signed(bits: u32, d: f32) -> vec4<f32> {
    return select(vec4(-d), vec4(d), (vec4(bits) & vec4(1u, 2u, 4u, 8u)) != vec4(0u));
}

fn scale_of(row: u32, group: u32) -> vec2<f32> {
    let two = unpack2x16float(scales[row / 2u]);
    return vec2(select(two.x, two.y, (row & 1u) == 1u), 0.0);
}

fn unpack8(row: u32, unit: u32, scale: vec2<f32>) -> mat2x4<f32> {
    let bits = quants[row * (COLS / 32u) + unit / 4u] >> (8u * (unit % 4u));
    return mat2x4(signed(bits, scale.x), signed(bits >> 4u, scale.x));
}
