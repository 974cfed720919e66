// The same as block, for hardware: a workgroup puts its rows, unpacked once for 32 tokens, and its tokens into tiles, a
// group at a time. All its invocations must call it.
fn row_dots(rows: vec4<u32>, is_needed: bool, token: u32, local: u32) -> Dots {
    // An invocation puts one unit of its own rows, and half a unit of 4 tokens.
    let quarter = local / ROW_LANES;
    let half = local / TOKEN_QUADS;
    let quad = local % TOKEN_QUADS;
    let sources = sources4(token - 8u * quarter + 4u * quad);
    var dots = Dots();
    for (var group = 0u; group < GROUPS; group += 1u) {
        let w = weights(rows, group, 4u * group + quarter);
        put_rows(mat4x4(w[0][0], w[1][0], w[2][0], w[3][0]), 8u * quarter, local % ROW_LANES);
        put_rows(mat4x4(w[0][1], w[1][1], w[2][1], w[3][1]), 8u * quarter + 4u, local % ROW_LANES);
        put_tokens(inputs(sources, 4u * group + half / 2u, half % 2u), 4u * half, quad);
        dots = add_products(dots, local);
    }
    return dots;
}

fn weights(rows: vec4<u32>, group: u32, unit: u32) -> array<mat2x4<f32>, 4> {
    if (is_outside(unit)) {
        return array<mat2x4<f32>, 4>();
    }
    return array(
        unpack8(rows.x, unit, scale_of(rows.x, group)), unpack8(rows.y, unit, scale_of(rows.y, group)),
        unpack8(rows.z, unit, scale_of(rows.z, group)), unpack8(rows.w, unit, scale_of(rows.w, group)));
}

fn inputs(sources: vec4<u32>, unit: u32, half: u32) -> mat4x4<f32> {
    if (is_outside(unit)) {
        return mat4x4<f32>();
    }
    let col = columns(unit)[half];
    return mat4x4(x4(sources.x, col), x4(sources.y, col), x4(sources.z, col), x4(sources.w, col));
}

// Folds away where a row is made of whole groups.
fn is_outside(unit: u32) -> bool {
    return UNITS % 4u != 0u && unit >= UNITS;
}
