//! `y = x · wᵀ (+ bias)`.

use super::Packed;
use crate::formats::{dot, group_sums};

/// Rows of the matrix that one pass unpacks together, so that each `x` is read once for all of them.
const TILE: usize = 4;

/// `x[n, cols], w[rows, cols], bias[1, rows] → y[n, rows]`.
pub fn run(x: &[f32], w: &Packed, bias: Option<&Packed>, y: &mut [f32]) {
    if x.len() == w.cols {
        one(x, w, y);
    } else {
        many(x, w, y);
    }
    if let Some(bias) = bias {
        let mut values = vec![0.0; w.rows];
        bias.format.unpack(bias.row(0), &mut values);
        for y in y.chunks_exact_mut(w.rows) {
            y.iter_mut().zip(&values).for_each(|(y, b)| *y += b);
        }
    }
}

/// One token: every weight is read once, so it is multiplied in its packed form.
fn one(x: &[f32], w: &Packed, y: &mut [f32]) {
    let sums = group_sums(x);
    let mut buffer = vec![0.0; w.cols];
    for (row, y) in y.iter_mut().enumerate() {
        *y = w.format.dot(w.row(row), x, &sums, &mut buffer);
    }
}

/// Many tokens: a tile of rows is unpacked once and multiplied with all of them.
fn many(x: &[f32], w: &Packed, y: &mut [f32]) {
    let mut tile = vec![0.0; TILE * w.cols];
    for row0 in (0..w.rows).step_by(TILE) {
        let n_rows = TILE.min(w.rows - row0);
        for (row, out) in (row0..row0 + n_rows).zip(tile.chunks_exact_mut(w.cols)) {
            w.format.unpack(w.row(row), out);
        }
        for (x, y) in x.chunks_exact(w.cols).zip(y.chunks_exact_mut(w.rows)) {
            if n_rows == TILE {
                y[row0..row0 + TILE].copy_from_slice(&dot_tile(&tile, x));
            } else {
                for (row, w) in tile.chunks_exact(w.cols).take(n_rows).enumerate() {
                    y[row0 + row] = dot(w, x);
                }
            }
        }
    }
}

/// `tile[TILE, cols] · x[cols]`, four lanes per row: as many sums as there are SIMD registers.
fn dot_tile(tile: &[f32], x: &[f32]) -> [f32; TILE] {
    const LANES: usize = 4;
    let cols = x.len();
    let rows: [&[f32]; TILE] = std::array::from_fn(|r| &tile[r * cols..][..cols]);
    let mut sums = [[0.0; LANES]; TILE];
    let (x_chunks, x_rest) = x.as_chunks::<LANES>();
    for (i, x) in x_chunks.iter().enumerate() {
        for (sum, row) in sums.iter_mut().zip(rows) {
            let w = &row[i * LANES..][..LANES];
            for lane in 0..LANES {
                sum[lane] += w[lane] * x[lane];
            }
        }
    }
    std::array::from_fn(|r| {
        let rest = &rows[r][cols - x_rest.len()..];
        sums[r].iter().sum::<f32>() + rest.iter().zip(x_rest).map(|(w, x)| w * x).sum::<f32>()
    })
}
