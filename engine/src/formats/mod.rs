//! Packed formats: how a weight's numbers lie in memory, on the CPU and on the GPU alike.
//!
//! A packed weight has two planes: `quants`, the numbers, and `scales`, one entry per group of 32
//! weights along a row (formats of whole floats have none). docs/formats.md draws the bits.

/// Weights along `cols` that share a scale, in every format that has scales.
pub const GROUP: usize = 32;

/// A packed format. The GPU's twin of each is shaders/formats/`<stem>`.wgsl.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// 32-bit floats.
    F32,
    /// 16-bit floats (IEEE 754 binary16).
    F16,
    /// bfloat16: the upper half of an f32.
    Bf16,
    /// Signed bytes `q`; `w = d·q` with an f16 `d` per group.
    Q8,
    /// Nibbles `q` in 0..=15; `w = d·q + m` with f16 `d` and `m` per group.
    Q4,
}

impl Format {
    /// Name, as in shaders/formats and in messages.
    pub fn stem(self) -> &'static str {
        match self {
            Format::F32 => "f32",
            Format::F16 => "f16",
            Format::Bf16 => "bf16",
            Format::Q8 => "q8",
            Format::Q4 => "q4",
        }
    }

    /// Bytes of one row's quants.
    pub fn row_quants_bytes(self, cols: usize) -> usize {
        match self {
            Format::F32 => cols * 4,
            Format::F16 | Format::Bf16 => cols * 2,
            Format::Q8 => cols,
            Format::Q4 => cols / 2,
        }
    }

    /// Bytes of one row's scales.
    pub fn row_scales_bytes(self, cols: usize) -> usize {
        match self {
            Format::F32 | Format::F16 | Format::Bf16 => 0,
            Format::Q8 => cols / GROUP * 2,
            Format::Q4 => cols / GROUP * 4,
        }
    }

    /// Bytes of a whole `[rows, cols]` weight.
    pub fn bytes(self, rows: usize, cols: usize) -> usize {
        rows * (self.row_quants_bytes(cols) + self.row_scales_bytes(cols))
    }
}

/// Consecutive packed rows, on their way from a file to a backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// First row.
    pub row0: usize,
    /// How many.
    pub n_rows: usize,
    /// `[n_rows, row_quants_bytes]`
    pub quants: Vec<u8>,
    /// `[n_rows, row_scales_bytes]`
    pub scales: Vec<u8>,
}

/// What a backend needs to know of a weight before its bytes come. `weights[w.id]` belongs to the
/// handle [`Weight`](crate::op::Weight)` { id, rows, cols }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightInfo {
    /// The tensor's name, for messages and buffer labels.
    pub name: String,
    /// How it is packed.
    pub format: Format,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
}
