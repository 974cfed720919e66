// Dot products of one weight row with 8 tokens: each weight is unpacked once for all of them. `source` says
// which row of x a token has. Rows past the last token exist (a buffer holds a multiple of 8) and their
// products are never written.
fn row_dots(row: u32, token: u32) -> mat2x4<f32> {
    let first = sources4(token);
    let second = sources4(token + 4u);
    var sums = mat2x4<f32>();
    for (var unit = 0u; unit < UNITS; unit += 1u) {
        let w = unpack8(row, unit);
        let at = columns(unit);
        sums += mat2x4(dots4(w, at, first), dots4(w, at, second));
    }
    return sums;
}

fn sources4(token: u32) -> vec4<u32> {
    return vec4(source(token), source(token + 1u), source(token + 2u), source(token + 3u));
}

fn dots4(w: mat2x4<f32>, at: vec2<u32>, rows: vec4<u32>) -> vec4<f32> {
    return vec4(
        dot(w[0], x4(rows.x, at.x)) + dot(w[1], x4(rows.x, at.y)),
        dot(w[0], x4(rows.y, at.x)) + dot(w[1], x4(rows.y, at.y)),
        dot(w[0], x4(rows.z, at.x)) + dot(w[1], x4(rows.z, at.y)),
        dot(w[0], x4(rows.w, at.x)) + dot(w[1], x4(rows.w, at.y)));
}
