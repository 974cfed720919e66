// One lane's share of dot(w[row], x[token]) for 4 rows: x is read once for all of them, a group at a time.
fn row_dots(rows: vec4<u32>, token: u32, lane: u32) -> vec4<f32> {
    var sums = vec4<f32>();
    for (var group = lane; group < GROUPS; group += LANES) {
        let scales4 = array(
            scale_of(rows.x, group), scale_of(rows.y, group), scale_of(rows.z, group), scale_of(rows.w, group));
        let unit = 4u * group;
        sums += dots8(rows, token, unit, scales4) + dots8(rows, token, unit + 1u, scales4)
            + dots8(rows, token, unit + 2u, scales4) + dots8(rows, token, unit + 3u, scales4);
    }
    return sums;
}

fn dots8(rows: vec4<u32>, token: u32, unit: u32, scales4: array<vec2<f32>, 4>) -> vec4<f32> {
    // The first half folds away where a row is made of whole groups.
    if (UNITS % 4u != 0u && unit >= UNITS) {
        return vec4<f32>();
    }
    let at = columns(unit);
    let x = mat2x4(x4(token, at.x), x4(token, at.y));
    return vec4(
        dot8(unpack8(rows.x, unit, scales4[0]), x),
        dot8(unpack8(rows.y, unit, scales4[1]), x),
        dot8(unpack8(rows.z, unit, scales4[2]), x),
        dot8(unpack8(rows.w, unit, scales4[3]), x));
}

fn dot8(w: mat2x4<f32>, x: mat2x4<f32>) -> f32 {
    return dot(w[0], x[0]) + dot(w[1], x[1]);
}
