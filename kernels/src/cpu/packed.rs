//! Packed weights in memory.

use crate::{
    OutOfMemory,
    formats::{Format, Row, Rows, WeightInfo},
    memory::zeroed,
};

/// A packed weight `[rows, cols]`.
#[derive(Debug)]
pub struct Packed {
    /// How its numbers lie in memory.
    pub format: Format,
    /// How many are here.
    pub rows: usize,
    /// Weights of a row.
    pub cols: usize,
    quants: Vec<u8>,
    /// And [`WINDOW`] bytes.
    scales: Vec<u8>,
}

/// Scales are read by as many bytes, beyond the end of a row too.
const WINDOW: usize = 16;

impl Packed {
    pub fn new(info: &WeightInfo) -> Result<Self, OutOfMemory> {
        let WeightInfo {
            format, rows, cols, ..
        } = *info;
        Ok(Self {
            format,
            rows,
            cols,
            quants: zeroed(rows * format.row_quants_bytes(cols), &info.name)?,
            scales: zeroed(rows * format.row_scales_bytes(cols) + WINDOW, &info.name)?,
        })
    }

    pub fn row(&self, row: usize) -> Row<'_> {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let (q, s) = (
            self.format.row_quants_bytes(self.cols),
            self.format.row_scales_bytes(self.cols),
        );
        Row {
            quants: &self.quants[row * q..][..q],
            scales: &self.scales[row * s..][..s],
        }
    }

    /// The row's scales, `n` windows of them: the last ones may be the next row's.
    pub fn scales(&self, row: usize, n: usize) -> &[[u8; WINDOW]] {
        let from = row * self.format.row_scales_bytes(self.cols);
        let to = (from + n * WINDOW).min(self.scales.len());
        self.scales[from..to].as_chunks().0
    }

    /// A vector's values.
    pub fn floats(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.cols];
        self.format.unpack(self.row(0), &mut values);
        values
    }

    pub fn write(&mut self, rows: &Rows) {
        let (q, s) = (
            self.format.row_quants_bytes(self.cols),
            self.format.row_scales_bytes(self.cols),
        );
        self.quants[rows.row0 * q..][..rows.n_rows * q].copy_from_slice(&rows.quants);
        self.scales[rows.row0 * s..][..rows.n_rows * s].copy_from_slice(&rows.scales);
    }
}
