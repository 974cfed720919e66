// 16-bit floats, two to a word; `widen` is in the format's own file.
@group(0) @binding(1) var<storage, read> quants: array<u32>; // [ROWS, COLS] halves

fn columns(unit: u32) -> vec2<u32> {
    return vec2(8u * unit, 8u * unit + 4u);
}

// Whole floats have no scale.
fn scale_of(row: u32, group: u32) -> vec2<f32> {
    return vec2<f32>();
}

fn weight(row: u32, col: u32) -> f32 {
    if (col >= COLS) {
        return 0.0;
    }
    let i = row * COLS + col;
    let two = widen(quants[i / 2u]);
    return select(two.x, two.y, (i & 1u) == 1u);
}

fn unpack8(row: u32, unit: u32, scale: vec2<f32>) -> mat2x4<f32> {
    let c = 8u * unit;
    if (COLS % 8u == 0u) {
        let i = (row * COLS + c) / 2u;
        return mat2x4(
            vec4(widen(quants[i]), widen(quants[i + 1u])),
            vec4(widen(quants[i + 2u]), widen(quants[i + 3u])));
    }
    return mat2x4(
        weight(row, c), weight(row, c + 1u), weight(row, c + 2u), weight(row, c + 3u),
        weight(row, c + 4u), weight(row, c + 5u), weight(row, c + 6u), weight(row, c + 7u));
}
