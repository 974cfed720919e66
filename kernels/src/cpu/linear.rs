//! `y = x · wᵀ (+ bias)`.

use super::{
    Arithmetic, Packed,
    integers::{self, Integers, Level, Order},
    team::Team,
};
use crate::formats::{Rows, dot, group_sums};
use std::ops::Range;

/// Rows of the matrix that one pass unpacks together, so that each `x` is read once for all of them.
const TILE: usize = 4;

/// Multiplies matrices; what it needs meanwhile is kept from one product to the next.
#[derive(Debug)]
pub struct Products {
    /// None where floats were asked for.
    level: Option<Level>,
    integers: Integers,
    /// The order in which they are the numbers of the current `x`, if they are.
    held: Option<Order>,
}

impl Products {
    /// In this arithmetic, as far as a weight's format has it.
    pub fn new(arithmetic: Arithmetic) -> Self {
        Self {
            level: match arithmetic {
                Arithmetic::Floats => None,
                Arithmetic::Integers => Some(Level::detect()),
            },
            integers: Integers::default(),
            held: None,
        }
    }

    /// What is multiplied from here on is another `x`.
    pub fn forget(&mut self) {
        self.held = None;
    }

    /// Some rows of `w` times some rows of `x[n, cols]`, the same until it is to be forgotten: a place is which row of
    /// `x`, and where its result begins in `y`.
    pub fn multiply(
        &mut self,
        w: &Packed,
        rows: Range<usize>,
        x: &[f32],
        places: &[(usize, usize)],
        y: &mut [f32],
    ) {
        match (self.level, places) {
            (_, []) => {}
            (Some(level), _) if integers::takes(w.format) => {
                let order = Order::of(w.format);
                if self.held.replace(order) != Some(order) {
                    self.integers.hold(level, order, x, w.cols);
                }
                self.integers.multiply(level, w, rows, places, y);
            }
            (_, [(from, to)]) => {
                let y = &mut y[*to..][..rows.len()];
                one(&x[from * w.cols..][..w.cols], w, rows, y);
            }
            _ => many(x, w, rows, places, y),
        }
    }
}

/// A weight and its index.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'w> {
    /// Which it is.
    pub id: usize,
    /// Its rows.
    pub w: &'w Packed,
}

/// Some rows of a weight times some rows of an activation: a part of what an op asks for.
#[derive(Debug)]
pub struct Job<'w> {
    /// The weight.
    pub w: Matrix<'w>,
    /// Which of its rows.
    pub rows: Range<usize>,
    /// Which rows of `x`, and where the result of each begins in `y`.
    pub places: Vec<(usize, usize)>,
    /// Which of the outputs `y` is.
    pub y: usize,
}

/// The one job of `x[n, cols], w[rows, cols] → y[n, rows]`.
pub fn job(w: Matrix<'_>, n: usize, y: usize) -> Job<'_> {
    Job {
        w,
        rows: 0..w.w.rows,
        places: (0..n).map(|i| (i, i * w.w.rows)).collect(),
        y,
    }
}

/// Adds `bias[1, rows]` to each row of `y[n, rows]`.
pub fn add_bias(bias: &Packed, y: &mut [f32]) {
    let values = bias.floats();
    for y in y.chunks_exact_mut(values.len()) {
        y.iter_mut().zip(&values).for_each(|(y, b)| *y += b);
    }
}

/// [`Products`], with other threads where there are some.
#[derive(Debug)]
pub struct Multiplier {
    products: Products,
    team: Option<Team>,
}

impl Multiplier {
    /// Alone where there is no team.
    pub fn new(arithmetic: Arithmetic, team: Option<Team>) -> Self {
        let products = Products::new(arithmetic);
        Self { products, team }
    }

    /// Puts rows of a weight in place.
    pub fn upload(&mut self, id: usize, w: &mut Packed, rows: &Rows) {
        w.write(rows);
        if let Some(team) = &self.team {
            team.upload(id, w.format, w.cols, rows);
        }
    }

    /// All that is to be multiplied with one `x`, into `ys`.
    pub fn multiply(&mut self, x: &[f32], jobs: &[Job<'_>], ys: &mut [Vec<f32>]) {
        self.products.forget();
        let own = match &mut self.team {
            Some(team) => team.multiply(&mut self.products, x, jobs, ys),
            None => jobs.iter().collect(),
        };
        for job in own {
            let rows = job.rows.clone();
            self.products
                .multiply(job.w.w, rows, x, &job.places, &mut ys[job.y]);
        }
    }
}

/// One token: every weight is read once, so it is multiplied in its packed form.
fn one(x: &[f32], w: &Packed, rows: Range<usize>, y: &mut [f32]) {
    let sums = group_sums(x);
    let mut buffer = vec![0.0; w.cols];
    for (row, y) in rows.zip(y) {
        *y = w.format.dot(w.row(row), x, &sums, &mut buffer);
    }
}

/// Many tokens: a tile of rows is unpacked once and multiplied with all of them.
fn many(x: &[f32], w: &Packed, rows: Range<usize>, places: &[(usize, usize)], y: &mut [f32]) {
    let mut tile = vec![0.0; TILE * w.cols];
    for row0 in (0..rows.len()).step_by(TILE) {
        let n_rows = TILE.min(rows.len() - row0);
        for (row, out) in (row0..row0 + n_rows).zip(tile.chunks_exact_mut(w.cols)) {
            w.format.unpack(w.row(rows.start + row), out);
        }
        for (from, to) in places {
            let (x, y) = (&x[from * w.cols..][..w.cols], &mut y[to + row0..][..n_rows]);
            if n_rows == TILE {
                y.copy_from_slice(&dot_tile(&tile, x));
            } else {
                for (w, y) in tile.chunks_exact(w.cols).zip(y) {
                    *y = dot(w, x);
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
