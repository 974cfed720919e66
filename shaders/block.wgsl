// Dot products of one weight row with 8 tokens: each weight is unpacked once for all of them. Rows of x
// past the last token exist (its buffer holds a multiple of 8) and their products are never written.
fn row_dots(row: u32, token: u32) -> mat2x4<f32> {
    var sums = mat2x4<f32>();
    for (var unit = 0u; unit < UNITS; unit += 1u) {
        let w = unpack8(row, unit);
        let at = columns(unit);
        sums += mat2x4(dots4(w, at, token), dots4(w, at, token + 4u));
    }
    return sums;
}

fn dots4(w: mat2x4<f32>, at: vec2<u32>, token: u32) -> vec4<f32> {
    return vec4(
        dot(w[0], x4(token, at.x)) + dot(w[1], x4(token, at.y)),
        dot(w[0], x4(token + 1u, at.x)) + dot(w[1], x4(token + 1u, at.y)),
        dot(w[0], x4(token + 2u, at.x)) + dot(w[1], x4(token + 2u, at.y)),
        dot(w[0], x4(token + 3u, at.x)) + dot(w[1], x4(token + 3u, at.y)));
}
