//! Safetensors files taken apart and put together again, in memory.
#![allow(dead_code, reason = "each test binary uses its own part")]

use safetensors::{Dtype, SafeTensors, serialize, tensor::TensorView};
use std::collections::BTreeMap;

/// One stored tensor.
#[derive(Clone)]
pub struct Tensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Tensor {
    pub fn new(dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> Self {
        Tensor {
            dtype,
            shape: shape.into(),
            bytes,
        }
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.bytes.len() / self.shape[0]
    }

    /// Rows in another order: row `i` is what row `order(i)` was.
    pub fn reordered(&self, order: impl Fn(usize) -> usize) -> Self {
        let n = self.row_bytes();
        let rows = (0..self.shape[0]).map(|i| &self.bytes[order(i) * n..][..n]);
        Tensor {
            bytes: rows.flatten().copied().collect(),
            ..self.clone()
        }
    }
}

/// A file's tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

pub fn read(file: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(file).unwrap();
    let tensor = |(name, view): (String, TensorView<'_>)| {
        let tensor = Tensor::new(view.dtype(), view.shape(), view.data().to_vec());
        (name, tensor)
    };
    file.tensors().into_iter().map(tensor).collect()
}

pub fn write(tensors: &Tensors) -> Vec<u8> {
    let views = tensors.iter().map(|(name, t)| {
        let view = TensorView::new(t.dtype, t.shape.clone(), &t.bytes).unwrap();
        (name, view)
    });
    serialize(views, None).unwrap()
}

/// Where row `i` comes from when heads of 64, whose row `j` is paired with row `j + 32`, are to have
/// neighbours paired.
pub fn halves_to_neighbours(i: usize) -> usize {
    i / 64 * 64 + i % 64 / 2 + i % 2 * 32
}

/// The way back.
pub fn neighbours_to_halves(i: usize) -> usize {
    i / 64 * 64 + i % 32 * 2 + i % 64 / 32
}
