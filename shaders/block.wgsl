// Dot products of 4 weight rows with 8 tokens: each weight is unpacked once for all tokens, and each x is read
// once for all rows. `source` says which row of x a token has.
override ROW_LANES: u32 = WG; // invocations side by side by rows

// 8 columns of x for 4 tokens, in the order of a unit's weights.
struct Tile {
    a: mat4x4<f32>,
    b: mat4x4<f32>,
}

fn row_dots(rows: vec4<u32>, is_needed: bool, token: u32, local: u32) -> Dots {
    var dots = Dots();
    if (!is_needed) {
        return dots;
    }
    let sources = array(sources4(token), sources4(token + 4u));
    for (var group = 0u; group < GROUPS; group += 1u) {
        let scales4 = array(
            scale_of(rows.x, group), scale_of(rows.y, group), scale_of(rows.z, group), scale_of(rows.w, group));
        for (var unit = 4u * group; unit < min(4u * group + 4u, UNITS); unit += 1u) {
            let w = array(
                unpack8(rows.x, unit, scales4[0]), unpack8(rows.y, unit, scales4[1]),
                unpack8(rows.z, unit, scales4[2]), unpack8(rows.w, unit, scales4[3]));
            let at = columns(unit);
            let first = tile(sources[0], at);
            dots.first += mat4x4(
                products(w[0], first), products(w[1], first), products(w[2], first), products(w[3], first));
            let second = tile(sources[1], at);
            dots.second += mat4x4(
                products(w[0], second), products(w[1], second), products(w[2], second), products(w[3], second));
        }
    }
    return dots;
}

fn tile(rows: vec4<u32>, at: vec2<u32>) -> Tile {
    return Tile(
        mat4x4(x4(rows.x, at.x), x4(rows.y, at.x), x4(rows.z, at.x), x4(rows.w, at.x)),
        mat4x4(x4(rows.x, at.y), x4(rows.y, at.y), x4(rows.z, at.y), x4(rows.w, at.y)));
}

// A row's weights with each of 4 tokens.
fn products(w: mat2x4<f32>, x: Tile) -> vec4<f32> {
    return w[0] * x.a + w[1] * x.b;
}
