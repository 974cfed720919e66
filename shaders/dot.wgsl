// One lane's share of dot(w[row], x[token]): 4 units, a group of 32 weights, at a time.
fn row_dot(row: u32, token: u32, lane: u32) -> f32 {
    var sum = 0.0;
    for (var unit = 4u * lane; unit < UNITS; unit += 4u * LANES) {
        sum += dot8(row, token, unit) + dot8(row, token, unit + 1u)
            + dot8(row, token, unit + 2u) + dot8(row, token, unit + 3u);
    }
    return sum;
}

fn dot8(row: u32, token: u32, unit: u32) -> f32 {
    // The first half folds away where a row is made of whole groups.
    if (UNITS % 4u != 0u && unit >= UNITS) {
        return 0.0;
    }
    let w = unpack8(row, unit);
    let at = columns(unit);
    return dot(w[0], x4(token, at.x)) + dot(w[1], x4(token, at.y));
}
