// Rotary position embedding (Su et al. 2021): pair i of each head is turned by pos * frequency[i], and by
// what `shifted` adds; what
// lies past 2 * PAIRS in a head passes. The table holds cosines and sines, made on the CPU because WGSL
// promises sin and cos only to 2^-11, and only near 0.
override HEAD_DIM: u32;
override PAIRS: u32;
override INTERLEAVED: bool;

@group(0) @binding(1) var<storage, read> x: array<f32>; // [n, heads * HEAD_DIM, ...]
@group(0) @binding(2) var<storage, read> turns: array<vec2<f32>>; // [context, PAIRS] (cos, sin)

// Element `col` of the row that starts at `row`, turned.
fn turned(row: u32, col: u32, pos: u32) -> f32 {
    let e = col % HEAD_DIM;
    let own = x[row + col];
    if (e >= 2u * PAIRS) {
        return own;
    }
    var pair = e % PAIRS;
    var first = e < PAIRS;
    var distance = PAIRS;
    if (INTERLEAVED) {
        pair = e / 2u;
        first = e % 2u == 0u;
        distance = 1u;
    }
    let turn = shifted(turns[pos * PAIRS + pair], (pos - run.pos) * PAIRS + pair);
    if (first) {
        return own * turn.x - x[row + col + distance] * turn.y;
    }
    return own * turn.x + x[row + col - distance] * turn.y;
}
