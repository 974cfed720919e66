// 32-bit floats. Interface of every format: `columns`, `scale_of`, `unpack8`; unused weights of a unit are 0.
@group(0) @binding(1) var<storage, read> quants: array<f32>; // [ROWS, COLS]

// First column of each half of a unit.
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
    return quants[row * COLS + col];
}

// The 8 weights of a unit, in two halves of 4 consecutive columns; `scale` is its group's.
fn unpack8(row: u32, unit: u32, scale: vec2<f32>) -> mat2x4<f32> {
    let c = 8u * unit;
    if (COLS % 8u == 0u) {
        let i = row * COLS + c;
        return mat2x4(
            quants[i], quants[i + 1u], quants[i + 2u], quants[i + 3u],
            quants[i + 4u], quants[i + 5u], quants[i + 6u], quants[i + 7u]);
    }
    return mat2x4(
        weight(row, c), weight(row, c + 1u), weight(row, c + 2u), weight(row, c + 3u),
        weight(row, c + 4u), weight(row, c + 5u), weight(row, c + 6u), weight(row, c + 7u));
}
