//! safetensors files: tensors only; `config.json` and `tokenizer.json` lie beside them.

use std::collections::BTreeMap;

use super::{
    Dtype, Tensor, packed,
    source::{Source, looks_like},
};
use crate::{Error, Result};

/// The header of a safetensors file.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Free texts of the writer, such as `format: pt`.
    pub metadata: BTreeMap<String, String>,
    /// In the order of their bytes.
    pub tensors: Vec<Tensor>,
}

/// Longest header, as in the `safetensors` crate.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Reads and checks the header; `file` is the source's index in the checkpoint.
///
/// # Errors
/// [`Error::BadHeader`] when the file is not a safetensors file, is damaged or ends too early;
/// [`Error::Source`] when it cannot be read.
pub async fn open(source: &Source, file: usize) -> Result<Header> {
    let bad = |problem: String| Error::BadHeader {
        file: source.name().to_string(),
        problem,
    };
    let head = source.read(0..source.len().min(32)).await?;
    let Some(length) = head.first_chunk::<8>() else {
        return Err(bad(format!(
            "it has {} bytes, and a safetensors file at least 8",
            head.len()
        )));
    };
    let n = u64::from_le_bytes(*length);
    if n > MAX_HEADER_BYTES {
        return Err(bad(format!(
            "its first 8 bytes say that the header has {n} bytes, and {MAX_HEADER_BYTES} are the limit{}",
            looks_like(&head)
        )));
    }
    let data_start = 8 + n;
    if data_start > source.len() {
        return Err(bad(format!(
            "the file ends at byte {}, and its header needs bytes up to {data_start}: the download is incomplete",
            source.len()
        )));
    }
    // The crate checks that the tensors fill the data without holes, and that dtype and shape agree with sizes.
    let checked: safetensors::tensor::Metadata =
        serde_json::from_slice(&source.read(8..data_start).await?)
            .map_err(|e| bad(format!("its header does not hold: {e}")))?;
    let mut tensors = Vec::new();
    for name in checked.offset_keys() {
        let Some(info) = checked.info(&name) else {
            continue;
        };
        let (start, end) = info.data_offsets;
        let range = data_start + start as u64..data_start + end as u64;
        if range.end > source.len() {
            return Err(bad(format!(
                "the file ends at byte {}, and the weight '{name}' needs bytes up to {}: the download is incomplete",
                source.len(),
                range.end
            )));
        }
        tensors.push(Tensor {
            dtype: dtype(info.dtype),
            shape: info.shape.clone(),
            file,
            range,
            name,
        });
    }
    let end = data_start + checked.data_len() as u64;
    if end != source.len() {
        return Err(bad(format!(
            "its weights end at byte {end}, and the file goes on to byte {}",
            source.len()
        )));
    }
    let metadata = checked.metadata().clone().unwrap_or_default();
    if let Some(text) = metadata.get(packed::KEY) {
        tensors = packed::unfold(source.name(), text, tensors)?;
    }
    Ok(Header {
        metadata: metadata.into_iter().collect(),
        tensors,
    })
}

fn dtype(dtype: safetensors::Dtype) -> Result<Dtype, String> {
    match dtype {
        safetensors::Dtype::F32 => Ok(Dtype::F32),
        safetensors::Dtype::F16 => Ok(Dtype::F16),
        safetensors::Dtype::BF16 => Ok(Dtype::Bf16),
        safetensors::Dtype::U8 => Ok(Dtype::U8),
        other => Err(other.to_string()),
    }
}

/// `model.safetensors.index.json` or `pytorch_model.bin.index.json`: which file of a checkpoint holds which tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Tensor name to file name.
    pub weight_map: BTreeMap<String, String>,
}

impl Index {
    /// Names of the files, each once, in order.
    pub fn shards(&self) -> Vec<String> {
        let mut names: Vec<String> = self.weight_map.values().cloned().collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Reads `model.safetensors.index.json`.
///
/// # Errors
/// [`Error::BadHeader`] when it is not such an index, or names a file outside its own folder.
pub fn index(file: &str, json: &[u8]) -> Result<Index> {
    index_of(file, json, ".safetensors")
}

/// Reads the index of shards whose names have this ending.
pub(super) fn index_of(file: &str, json: &[u8], ending: &str) -> Result<Index> {
    #[derive(serde::Deserialize)]
    struct Json {
        weight_map: BTreeMap<String, String>,
    }
    let bad = |problem: String| Error::BadHeader {
        file: file.to_string(),
        problem,
    };
    let Json { weight_map } = serde_json::from_slice(json)
        .map_err(|e| bad(format!("the index of shards does not hold: {e}")))?;
    if weight_map.is_empty() {
        return Err(bad("the index of shards names no file".into()));
    }
    for name in weight_map.values() {
        // Names come from outside and are joined to a folder or an address.
        let plain = name.ends_with(ending)
            && !name.starts_with('.')
            && !name.contains(['/', '\\', ':', '\0', '?', '#', '%']);
        if !plain {
            return Err(bad(format!(
                "the index of shards names '{name}', which is not a {ending} file beside it"
            )));
        }
    }
    Ok(Index { weight_map })
}
