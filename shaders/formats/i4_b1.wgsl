// Rows of I4, and below them, from row SPLIT on, rows of B1: one stack of both, read in I4's order of columns.
override SPLIT: u32;

@group(0) @binding(1) var<storage, read> quants: array<u32>; // [SPLIT, COLS / 32, 4] words, [ROWS - SPLIT, COLS / 32] words
@group(0) @binding(2) var<storage, read> scales: array<u32>; // [ROWS] halves

fn columns(unit: u32) -> vec2<u32> {
    let first = 32u * (unit / 4u) + 4u * (unit % 4u);
    return vec2(first, first + 16u);
}

fn scale_of(row: u32, group: u32) -> vec2<f32> {
    let two = unpack2x16float(scales[row / 2u]);
    return vec2(select(two.x, two.y, (row & 1u) == 1u), 0.0);
}

// No branch: a workgroup may hold rows of both.
fn unpack8(row: u32, unit: u32, scale: vec2<f32>) -> mat2x4<f32> {
    let is_bits = row >= SPLIT;
    let nibbles_at = row * (COLS / 8u) + unit;
    let bits_at = SPLIT * (COLS / 8u) + (row - SPLIT) * (COLS / 32u) + unit / 4u;
    let word = quants[select(nibbles_at, bits_at, is_bits)];
    let shifts = select(vec4(0u, 8u, 16u, 24u), 4u * (unit % 4u) + vec4(0u, 1u, 2u, 3u), is_bits);
    let mask = vec4(select(15u, 1u, is_bits));
    // d * (q - 8), or d * (2 * bit - 1).
    let step = select(scale.x, 2.0 * scale.x, is_bits);
    let low = vec4(select(-8.0 * scale.x, -scale.x, is_bits));
    let second = word >> select(4u, 16u, is_bits);
    return mat2x4(
        step * vec4<f32>((vec4(word) >> shifts) & mask) + low,
        step * vec4<f32>((vec4(second) >> shifts) & mask) + low);
}
