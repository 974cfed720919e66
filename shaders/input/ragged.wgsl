// Input rows of any width; what lies beyond the row reads as 0.
@group(0) @binding(3) var<storage, read> x: array<f32>; // [n, COLS]

fn x1(row: u32, col: u32) -> f32 {
    if (col >= COLS) {
        return 0.0;
    }
    return x[row * COLS + col];
}

// Columns col .. col + 3 of a row.
fn x4(row: u32, col: u32) -> vec4<f32> {
    return vec4(x1(row, col), x1(row, col + 1u), x1(row, col + 2u), x1(row, col + 3u));
}

// The i-th number of the buffer.
fn number(i: u32) -> f32 {
    return x[i];
}
