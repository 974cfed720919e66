// x has its norm's gain and still lacks its scale, 1 / sqrt(mean of squares + EPS). A product lets a factor through, so
// it is applied to the sums. Behind the COLS numbers of x lie the sums of squares of the workgroups that made it.
override EPS: f32;
override PARTIALS: u32;

// Every invocation of the workgroup must call it.
fn norm_scale(local: u32) -> f32 {
    var squares = 0.0;
    for (var i = local % LANES; i < PARTIALS; i += LANES) {
        squares += number(COLS + i);
    }
    let sum = reduce_sums(vec4(squares, 0.0, 0.0, 0.0), local).x;
    return inverseSqrt(sum / f32(COLS) + EPS);
}
