// Nibbles q with an f16 d per row: w = d * (q - 8). Nibbles lie as in q4.
@group(0) @binding(1) var<storage, read> quants: array<u32>; // [ROWS, COLS / 32, 4] words
@group(0) @binding(2) var<storage, read> scales: array<u32>; // [ROWS] halves

fn columns(unit: u32) -> vec2<u32> {
    let first = 32u * (unit / 4u) + 4u * (unit % 4u);
    return vec2(first, first + 16u);
}

fn nibbles(word: u32) -> vec4<f32> {
    return vec4<f32>((vec4(word) >> vec4(0u, 8u, 16u, 24u)) & vec4(15u)) - 8.0;
}

fn scale_of(row: u32, group: u32) -> vec2<f32> {
    let two = unpack2x16float(scales[row / 2u]);
    return vec2(select(two.x, two.y, (row & 1u) == 1u), 0.0);
}

fn unpack8(row: u32, unit: u32, scale: vec2<f32>) -> mat2x4<f32> {
    let word = quants[row * (COLS / 8u) + unit];
    return scale.x * mat2x4(nibbles(word), nibbles(word >> 4u));
}
