// The embedding of one token and the beginning of its RMSNorm, as tail/norm has it: one workgroup, one sum of squares.
@group(0) @binding(3) var<storage, read> tokens: array<u32>; // [1]
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [1, COLS]
@group(0) @binding(7) var<storage, read_write> h: array<f32>; // [COLS], then [1]

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) local: u32) {
    let row = tokens[0];
    var squares = 0.0;
    for (var unit = local; unit < UNITS; unit += WG) {
        let w = unpack8(row, unit, scale_of(row, unit / 4u));
        let at = columns(unit);
        squares += write4(w[0], at.x) + write4(w[1], at.y);
    }
    squares = reduce_sums(vec4(squares, 0.0, 0.0, 0.0), local).x;
    if (local == 0u) {
        h[COLS] = squares;
    }
}

// Returns the sum of the squares that it wrote.
fn write4(values: vec4<f32>, col: u32) -> f32 {
    var squares = 0.0;
    for (var i = 0u; i < 4u; i += 1u) {
        if (col + i < COLS) {
            y[col + i] = values[i];
            h[col + i] = values[i] * gain(col + i);
            squares += values[i] * values[i];
        }
    }
    return squares;
}
