//! Causal depthwise convolution over the rows of a cache.

/// `x[context, width], w[width, taps], bias[width] → y[n, width]`; row `r` of `y` is at position `pos + r`.
pub fn run(x: &[f32], w: &[f32], bias: Option<&[f32]>, width: usize, pos: u32, y: &mut [f32]) {
    let taps = w.len() / width;
    for (r, y) in y.chunks_exact_mut(width).enumerate() {
        let pos = pos as usize + r;
        match bias {
            Some(bias) => y.copy_from_slice(bias),
            None => y.fill(0.0),
        }
        for back in 0..taps.min(pos + 1) {
            let x = &x[(pos - back) * width..][..width];
            for (c, (y, x)) in y.iter_mut().zip(x).enumerate() {
                *y += w[c * taps + taps - 1 - back] * x;
            }
        }
    }
}
