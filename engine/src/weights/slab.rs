//! Pieces of stored tensors that become one weight: experts stacked, a fused matrix cut, a transpose.

use super::{Dtype, Job, Part, Stored, Tensor, pack, packed::Planes};
use crate::{Error, Result, formats::WeightInfo};
use std::ops::Range;

/// Some rows of a stored tensor, whose leading dimensions count as rows: `[4, 8, 16]` has 32 rows.
#[derive(Debug, Clone)]
pub struct Slab<'w> {
    tensor: &'w Tensor,
    /// Rows as stored.
    rows: Range<usize>,
    /// Columns as stored.
    cols: usize,
    transposed: bool,
    scaled: Option<(&'w Tensor, Codes)>,
}

/// What the bits of a code mean, where each row has one scale. A family without a published convention
/// declares these as switches that calibration sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codes {
    /// One bit per weight, 8 to a byte: `w = ±scale`.
    Bits {
        /// The first weight is a byte's highest bit (NumPy's `packbits`), otherwise its lowest.
        msb_first: bool,
        /// A set bit is `+scale`, otherwise `−scale`.
        one_is_plus: bool,
    },
    /// Four bits per weight, 2 to a byte: `w = scale · q`.
    Nibbles {
        /// The first weight is a byte's lower half, otherwise its upper.
        low_first: bool,
        /// `q = nibble − offset`; `None` for two's complement.
        offset: Option<u8>,
    },
}

impl Codes {
    /// Weights in a byte.
    pub fn per_byte(self) -> usize {
        match self {
            Codes::Bits { .. } => 8,
            Codes::Nibbles { .. } => 2,
        }
    }
}

impl<'w> Slab<'w> {
    pub(super) fn new(tensor: &'w Tensor) -> Self {
        let (cols, leading) = tensor.shape.split_last().unwrap_or((&1, &[]));
        Self {
            tensor,
            rows: 0..leading.iter().product(),
            cols: *cols,
            transposed: false,
            scaled: None,
        }
    }

    /// Only these rows of it.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        assert!(!self.transposed, "cut first, then transpose");
        assert!(
            rows.end <= self.rows.len(),
            "rows {rows:?} of {}",
            self.rows.len()
        );
        let start = self.rows.start;
        Self {
            rows: start + rows.start..start + rows.end,
            ..self.clone()
        }
    }

    /// The same numbers as a matrix of so many rows.
    pub fn reshaped(&self, rows: usize) -> Self {
        let n = self.n_numbers();
        assert!(
            !self.transposed && self.rows.start == 0 && n.is_multiple_of(rows),
            "{n} numbers in {rows} rows"
        );
        Self {
            rows: 0..rows,
            cols: n / rows,
            ..self.clone()
        }
    }

    /// `[cols, rows]` instead of `[rows, cols]`.
    pub fn transposed(self) -> Self {
        Self {
            transposed: !self.transposed,
            ..self
        }
    }

    /// As codes of a few bits, with one scale per row: `scales[rows]` f16 of the same file.
    pub fn scaled(self, scales: &Slab<'w>, codes: Codes) -> Self {
        Self {
            scaled: Some((scales.tensor, codes)),
            ..self
        }
    }

    /// Numbers in it, as stored.
    pub fn n_numbers(&self) -> usize {
        self.rows.len() * self.cols
    }

    /// `(rows, cols)` of the weight that it becomes.
    pub fn shape(&self) -> (usize, usize) {
        match (self.transposed, self.scaled) {
            (true, _) => (self.cols, self.rows.len()),
            (false, Some((_, codes))) => (self.rows.len(), self.cols * codes.per_byte()),
            (false, None) => (self.rows.len(), self.cols),
        }
    }

    fn part(&self) -> Result<Part> {
        let Tensor { file, range, .. } = self.tensor;
        let dtype = self.dtype()?;
        if let Dtype::Planes(planes) = dtype {
            return Ok(self.planes(planes));
        }
        let (block_weights, block_bytes) = dtype.block();
        let row_bytes = (self.cols / block_weights * block_bytes) as u64;
        let bytes = range.start + self.rows.start as u64 * row_bytes
            ..range.start + self.rows.end as u64 * row_bytes;
        let stored = match (self.scaled, self.transposed) {
            (Some((scales, codes)), _) => {
                if scales.dtype != Ok(Dtype::F16) || scales.file != *file {
                    return Err(unsupported(scales, format!("{:?}", scales.dtype)));
                }
                let at = |row: usize| scales.range.start + 2 * row as u64;
                Stored::Scaled {
                    scales: at(self.rows.start)..at(self.rows.end),
                    codes,
                }
            }
            (None, true) => Stored::Columns(dtype),
            (None, false) => Stored::Rows(dtype),
        };
        let (rows, _) = self.shape();
        Ok(Part {
            file: *file,
            range: bytes,
            rows,
            stored,
        })
    }

    /// Rows of packed planes, which lie as the weight wants them whatever the tensor's own orientation.
    fn planes(&self, planes: Planes) -> Part {
        let Tensor { file, range, .. } = self.tensor;
        let (_, cols) = self.shape();
        // A whole matrix [a, b] of a stack has a rows as stored, and b in its planes.
        let rows = if self.transposed {
            let row = |stored: usize| stored / cols * self.cols;
            row(self.rows.start)..row(self.rows.end)
        } else {
            self.rows.clone()
        };
        let bytes = |start: u64, row_bytes: usize| {
            start + (rows.start * row_bytes) as u64..start + (rows.end * row_bytes) as u64
        };
        Part {
            file: *file,
            range: bytes(range.start, planes.format.row_quants_bytes(cols)),
            rows: rows.len(),
            stored: Stored::Planes {
                format: planes.format,
                scales: bytes(planes.scales, planes.format.row_scales_bytes(cols)),
            },
        }
    }

    fn dtype(&self) -> Result<Dtype> {
        let dtype = *self
            .tensor
            .dtype
            .as_ref()
            .map_err(|format| unsupported(self.tensor, format.clone()))?;
        if self.scaled.is_some() {
            return if dtype == Dtype::U8 {
                Ok(dtype)
            } else {
                Err(unsupported(self.tensor, format!("{dtype:?}")))
            };
        }
        if let Dtype::Planes(planes) = dtype {
            return if planes.transposed == self.transposed {
                Ok(dtype)
            } else {
                let format = format!("{} packed the other way round", planes.format.stem());
                Err(unsupported(self.tensor, format))
            };
        }
        let (block_weights, _) = dtype.block();
        if dtype == Dtype::U8 || (self.transposed && !dtype.is_float()) {
            return Err(unsupported(self.tensor, format!("{dtype:?}")));
        }
        if !self.cols.is_multiple_of(block_weights) {
            let format = format!("{dtype:?} in rows of {}", self.cols);
            return Err(unsupported(self.tensor, format));
        }
        Ok(dtype)
    }
}

/// The job of one weight `[Σ rows, cols]`.
pub(super) fn join(slabs: Vec<Slab<'_>>) -> Result<Job> {
    let first = &slabs[0];
    let (_, cols) = first.shape();
    if cols == 0 || slabs.iter().any(|slab| slab.shape().0 == 0) {
        return Err(unsupported(first.tensor, "nothing: a size of 0".into()));
    }
    let mut parts = Vec::with_capacity(slabs.len());
    for slab in &slabs {
        assert_eq!(slab.shape().1, cols, "slabs of several widths");
        parts.push(slab.part()?);
    }
    let format = pack::exact(&parts[0].stored);
    for (slab, part) in slabs.iter().zip(&parts) {
        if pack::exact(&part.stored) != format {
            let format = format!("{:?}, unlike what it belongs to", part.stored);
            return Err(unsupported(slab.tensor, format));
        }
        // Two rows of any format end on a whole word, one row may not.
        if slabs.len() > 1 && !part.rows.is_multiple_of(2) {
            let format = format!("{:?} in pieces of {} rows", part.stored, part.rows);
            return Err(unsupported(slab.tensor, format));
        }
    }
    if matches!(parts[0].stored, Stored::Scaled { .. }) && !cols.is_multiple_of(32) {
        let format = format!("{:?} in rows of {cols}", parts[0].stored);
        return Err(unsupported(first.tensor, format));
    }
    let info = WeightInfo {
        name: first.tensor.name.clone(),
        format,
        rows: parts.iter().map(|part| part.rows).sum(),
        cols,
    };
    Ok(Job { parts, info })
}

fn unsupported(tensor: &Tensor, format: String) -> Error {
    Error::UnsupportedFormat {
        name: tensor.name.clone(),
        format,
    }
}
