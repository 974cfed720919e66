// Input rows whose width is a multiple of 4.
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // [n, COLS / 4]

// Columns col .. col + 3 of a row.
fn x4(row: u32, col: u32) -> vec4<f32> {
    return x[(row * COLS + col) / 4u];
}

// The i-th number of the buffer.
fn number(i: u32) -> f32 {
    return x[i / 4u][i % 4u];
}
