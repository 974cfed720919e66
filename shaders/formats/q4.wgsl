// Nibbles q with f16 d and m per group of 32: w = d * q + m. Byte b of a group's 16 holds weight b in
// its low nibble and weight 16 + b in its high nibble, so a unit's halves lie 16 columns apart.
@group(0) @binding(1) var<storage, read> quants: array<u32>; // [ROWS, COLS / 32, 4] words
@group(0) @binding(2) var<storage, read> scales: array<u32>; // [ROWS, COLS / 32] d low, m high

fn columns(unit: u32) -> vec2<u32> {
    let first = 32u * (unit / 4u) + 4u * (unit % 4u);
    return vec2(first, first + 16u);
}

fn nibbles(word: u32) -> vec4<f32> {
    return vec4<f32>((vec4(word) >> vec4(0u, 8u, 16u, 24u)) & vec4(15u));
}

// d and m
fn scale_of(row: u32, group: u32) -> vec2<f32> {
    return unpack2x16float(scales[row * (COLS / 32u) + group]);
}

fn unpack8(row: u32, unit: u32, scale: vec2<f32>) -> mat2x4<f32> {
    let word = quants[row * (COLS / 8u) + unit];
    let m = vec4(scale.y);
    return mat2x4(scale.x * nibbles(word) + m, scale.x * nibbles(word >> 4u) + m);
}
