//! A checkpoint's tensors: what is in the file, what a model asked for, and the jobs that bring it in.

pub mod gguf;
pub mod metadata;
pub mod safetensors;
pub mod source;

mod reader;

use std::ops::Range;

/// How a file stores a tensor's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// bfloat16.
    Bf16,
    /// GGML blocks of 32: f16 `d`, 32 signed bytes; `w = d·q`.
    Q8_0,
    /// GGML blocks of 32: f16 `d`, 16 bytes of nibbles; `w = d·(q − 8)`.
    Q4_0,
    /// GGML blocks of 32: f16 `d`, f16 `m`, 16 bytes of nibbles; `w = d·q + m`.
    Q4_1,
}

impl Dtype {
    /// `(weights, bytes)` of one block.
    pub fn block(self) -> (usize, usize) {
        match self {
            Dtype::F32 => (1, 4),
            Dtype::F16 | Dtype::Bf16 => (1, 2),
            Dtype::Q8_0 => (32, 34),
            Dtype::Q4_0 => (32, 18),
            Dtype::Q4_1 => (32, 20),
        }
    }
}

/// Where one tensor lies, and what it is. The header that it came from was checked: the range lies in
/// the file and its length is what dtype and shape ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Name, as the file spells it.
    pub name: String,
    /// Number format. `Err` carries the container's own name of a format that Thimble does not know, so
    /// that `inspect` can show it and only a model that needs the tensor fails.
    pub dtype: Result<Dtype, String>,
    /// Row-major shape, slowest first: a matrix is `[rows, cols]` = `[out, in]`.
    pub shape: Vec<usize>,
    /// Index of the file in the checkpoint's list of sources.
    pub file: usize,
    /// Bytes in that file.
    pub range: Range<u64>,
}
