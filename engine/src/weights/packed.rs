//! Packed safetensors, as `thimble pack` writes them: planes of a packed format in place of floats.
//!
//! A packed tensor `name` is two: `name`, its quants as U8 `[rows, row_quants_bytes]`, and `name.scales` as F16.
//! The header's text [`KEY`] holds, by name, what it was: `{"format": "q4", "shape": [32, 512, 1024],
//! "transposed": true}`. A transposed one was stored `[in, out]`; its planes are `[out, in]`, since groups run
//! along the inputs. Everything else lies there as it was. The small files of the folder (config.json,
//! tokenizer.json, …) are texts of the header, so that one file is a whole model.

use super::{Dtype, Tensor};
use crate::{Error, Result, formats::Format};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The header's text that says what is packed.
pub const KEY: &str = "thimble.packed";

/// Two planes in place of a tensor's floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planes {
    /// Their format.
    pub format: Format,
    /// First byte of the scales, in the same file.
    pub scales: u64,
    /// Whether the tensor's own last two dimensions are the other way round.
    pub transposed: bool,
}

/// What a tensor was before it was packed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// `q8` or `q4`.
    pub format: String,
    /// Its own shape.
    pub shape: Vec<usize>,
    /// Whether the planes are its transpose.
    pub transposed: bool,
}

impl Packed {
    /// `(rows, cols)` of the planes.
    pub fn rows_and_cols(&self) -> Option<(usize, usize)> {
        let [leading @ .., a, b] = &self.shape[..] else {
            return None;
        };
        let (rows, cols) = if self.transposed { (*b, *a) } else { (*a, *b) };
        let stacked = leading.iter().try_fold(rows, |n, d| n.checked_mul(*d))?;
        Some((stacked, cols))
    }

    fn format(&self) -> Option<Format> {
        [Format::Q8, Format::Q4]
            .into_iter()
            .find(|format| format.stem() == self.format)
    }
}

/// Puts the planes that `text` tells of together again; `file` names the file in messages.
///
/// # Errors
/// [`Error::BadHeader`] where the text and the tensors do not agree.
pub fn unfold(file: &str, text: &str, tensors: Vec<Tensor>) -> Result<Vec<Tensor>> {
    let bad = |problem: String| Error::BadHeader {
        file: file.into(),
        problem,
    };
    let packed: BTreeMap<String, Packed> =
        serde_json::from_str(text).map_err(|e| bad(format!("its '{KEY}' does not hold: {e}")))?;
    let mut scales = BTreeMap::new();
    let mut others = Vec::new();
    for tensor in tensors {
        match tensor.name.strip_suffix(".scales") {
            Some(name) if packed.contains_key(name) => {
                scales.insert(name.to_owned(), tensor);
            }
            _ => others.push(tensor),
        }
    }
    for tensor in &mut others {
        let Some(packed) = packed.get(&tensor.name) else {
            continue;
        };
        let fitting = || {
            let (format, scales) = (packed.format()?, scales.get(&tensor.name)?);
            let (rows, cols) = packed.rows_and_cols()?;
            let bytes = |plane: &Tensor| plane.range.end - plane.range.start;
            let needed = |row_bytes: usize| rows.checked_mul(row_bytes).map(|n| n as u64);
            let fits = cols.is_multiple_of(crate::formats::GROUP)
                && Some(bytes(tensor)) == needed(format.row_quants_bytes(cols))
                && Some(bytes(scales)) == needed(format.row_scales_bytes(cols))
                && tensor.file == scales.file;
            fits.then_some(Planes {
                format,
                scales: scales.range.start,
                transposed: packed.transposed,
            })
        };
        let planes = fitting().ok_or_else(|| {
            bad(format!(
                "the packed weight '{}' is not what '{KEY}' says ({packed:?})",
                tensor.name
            ))
        })?;
        tensor.dtype = Ok(Dtype::Planes(planes));
        tensor.shape = packed.shape.clone();
    }
    Ok(others)
}
