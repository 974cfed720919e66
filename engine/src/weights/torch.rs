//! PyTorch checkpoints: the zip archives that `torch.save` writes since version 1.6 (`.bin`, `.pt`, `.pth`).
//!
//! The entry `P/data.pkl` is a pickle, a program that builds the checkpoint's dicts and tensors; [`pickle`] runs
//! it with a vocabulary that can build nothing else. The numbers behind one or more tensors are a storage, an
//! entry `P/data/<key>` that lies in the archive as it is. So every tensor is a byte range of the file.

mod objects;
mod pickle;
mod zip;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
};

use self::{
    objects::{Objects, Value, View, shortened},
    zip::Archive,
};
use super::{
    Dtype, Tensor,
    safetensors::{Index, index_of},
    source::{Source, looks_like},
};
use crate::{Error, Result};

/// What a PyTorch checkpoint holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Plain values that lie beside the weights, such as `epoch`.
    pub metadata: BTreeMap<String, String>,
    /// In the order of their bytes; tied weights have the same bytes.
    pub tensors: Vec<Tensor>,
}

/// Longest pickle that is read; those of the largest models have about 10 MB.
const MAX_PICKLE_BYTES: u64 = 64 << 20;
/// Keys under which training programs keep the weights.
const WRAPPERS: [&str; 3] = ["state_dict", "model", "module"];
/// First bytes of the pickle before the archives: protocol 2 and the number 0x1950a86a20f9469cfc6c.
const OLD_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// Reads and checks everything but the numbers; `file` is the source's index in the checkpoint.
///
/// # Errors
/// [`Error::BadHeader`] when the file is not such an archive, is damaged or ends too early, when its pickle asks
/// for anything but tensors and plain values, and when a weight is not contiguous; [`Error::Source`] when it
/// cannot be read.
pub async fn open(source: &Source, file: usize) -> Result<Header> {
    let bad = |problem| bad(source, problem);
    check_head(source).await?;
    let archive = Archive::open(source).await?;
    let folder = folder(&archive).map_err(bad)?;
    check_byte_order(&archive, folder).await?;
    let name = format!("{folder}/data.pkl");
    let pickle = archive.read(&name, MAX_PICKLE_BYTES).await?;
    let objects = pickle::run(&pickle).map_err(|problem| bad(format!("its data.pkl {problem}")))?;
    let (under, weights) = state_dict(&objects).map_err(bad)?;
    let mut metadata = BTreeMap::new();
    if let (Some(key), Value::Dict(top)) = (under, objects.root) {
        metadata = plain_values(&objects, top);
        metadata.insert("weights".into(), format!("under '{key}'"));
    }
    let mut tensors = Placing {
        archive: &archive,
        folder,
        objects: &objects,
        storages: HashMap::new(),
    }
    .tensors(weights, file)
    .await?;
    tensors.sort_by(|a, b| (a.range.start, &a.name).cmp(&(b.range.start, &b.name)));
    Ok(Header { metadata, tensors })
}

/// Whether a file's name ends as PyTorch's files do.
pub fn is_torch(name: &str) -> bool {
    [".bin", ".pt", ".pth"].iter().any(|e| name.ends_with(e))
}

/// Whether a file of a model's folder holds its weights: others of PyTorch there are the state of a training
/// (`training_args.bin`, `optimizer.pt`, `rng_state.pth`).
pub fn is_weights(name: &str) -> bool {
    is_torch(name) && (name.starts_with("pytorch_model") || name.starts_with("model"))
}

/// Reads `pytorch_model.bin.index.json`.
///
/// # Errors
/// [`Error::BadHeader`] when it is not such an index, or names a file outside its own folder.
pub fn index(file: &str, json: &[u8]) -> Result<Index> {
    index_of(file, json, ".bin")
}

async fn check_head(source: &Source) -> Result<()> {
    let head = source.read(0..source.len().min(32)).await?;
    if head.starts_with(OLD_MAGIC) {
        return Err(bad(
            source,
            "it is in the format of PyTorch before version 1.6; load it with a newer PyTorch and save it again".into(),
        ));
    }
    if !head.starts_with(b"PK\x03\x04") {
        let found = String::from_utf8_lossy(&head[..head.len().min(4)]).into_owned();
        let hint = looks_like(&head);
        return Err(bad(
            source,
            format!(
                "a PyTorch checkpoint is a zip archive and begins with \"PK\", this file with {found:?}{hint}"
            ),
        ));
    }
    Ok(())
}

/// The folder in the archive that holds everything: `archive`, or the name that the file once had.
fn folder<'a>(archive: &'a Archive<'_>) -> Result<&'a str, String> {
    let mut folders = archive
        .names()
        .filter_map(|name| name.strip_suffix("/data.pkl"))
        .filter(|folder| !folder.contains('/'));
    match (folders.next(), folders.next()) {
        (Some(folder), None) => Ok(folder),
        (None, _) => {
            Err("it is a zip archive without a data.pkl, so torch.save did not write it".into())
        }
        (Some(a), Some(b)) => Err(format!(
            "it holds two checkpoints, '{}' and '{}'",
            shortened(a),
            shortened(b)
        )),
    }
}

/// Files of before PyTorch 2.1 do not say; they are little-endian.
async fn check_byte_order(archive: &Archive<'_>, folder: &str) -> Result<()> {
    let name = format!("{folder}/byteorder");
    if !archive.has(&name) {
        return Ok(());
    }
    let order = archive.read(&name, 16).await?;
    if order != b"little" {
        let order = String::from_utf8_lossy(&order).into_owned();
        return Err(archive.bad(format!(
            "its numbers are {order:?}-endian, made for another kind of processor; \"little\" is read"
        )));
    }
    Ok(())
}

/// The dict of weights, and the key that it lies under.
fn state_dict(objects: &Objects<'_>) -> Result<(Option<&'static str>, u32), String> {
    let Value::Dict(top) = objects.root else {
        return Err(format!(
            "its data.pkl holds {} where a dict of weights is expected",
            objects.root.kind()
        ));
    };
    let has_weights = |dict| {
        objects
            .entries_of(dict)
            .any(|(_, value)| matches!(value, Value::Tensor(_)))
    };
    for wrapper in WRAPPERS {
        // A later value of a key replaces an earlier one.
        let under = objects
            .entries_of(top)
            .filter(|(key, _)| *key == Value::Text(wrapper))
            .last();
        if let Some((_, Value::Dict(dict))) = under
            && has_weights(dict)
        {
            return Ok((Some(wrapper), dict));
        }
    }
    if has_weights(top) {
        return Ok((None, top));
    }
    let keys: Vec<String> = objects
        .entries_of(top)
        .take(8)
        .map(|(key, _)| key.shown())
        .collect();
    let found = match keys.len() {
        0 => "it is empty".into(),
        _ => format!("its keys are {}", keys.join(", ")),
    };
    Err(format!(
        "no weights are in its dict, nor in one under {}; {found}",
        WRAPPERS.join(", ")
    ))
}

/// The first few plain values of a dict.
fn plain_values(objects: &Objects<'_>, dict: u32) -> BTreeMap<String, String> {
    objects
        .entries_of(dict)
        .filter(|(_, value)| value.is_plain())
        .take(64)
        .map(|(key, value)| (key.shown(), value.shown()))
        .collect()
}

/// Turns tensors of the pickle into checked byte ranges of the file.
struct Placing<'a, 'p> {
    archive: &'a Archive<'a>,
    folder: &'a str,
    objects: &'a Objects<'p>,
    /// Bytes of the storages met so far, by key.
    storages: HashMap<&'p str, Range<u64>>,
}

impl<'p> Placing<'_, 'p> {
    async fn tensors(mut self, dict: u32, file: usize) -> Result<Vec<Tensor>> {
        let objects = self.objects;
        let mut names = HashSet::new();
        let mut tensors = Vec::new();
        for (key, value) in objects.entries_of(dict) {
            // What else lies between weights, such as a counter or None, is none that a model could ask for.
            let Value::Tensor(id) = value else { continue };
            let Value::Text(name) = key else {
                let kind = key.kind();
                return Err(self
                    .archive
                    .bad(format!("a weight has {kind} as its name, not a text")));
            };
            // Asked before the name is copied: a pickle repeats a long text in two bytes.
            if !names.insert(name) {
                return Err(self
                    .archive
                    .bad(format!("it holds two weights named '{name}'")));
            }
            tensors.push(self.tensor(name, &objects.views[id as usize], file).await?);
        }
        Ok(tensors)
    }

    async fn tensor(&mut self, name: &str, view: &View, file: usize) -> Result<Tensor> {
        let storage = self.objects.storages[view.storage as usize];
        let archive = self.archive;
        let bad = |problem| archive.bad(problem);
        let shape = self.objects.numbers(view.shape);
        let strides = self.objects.numbers(view.strides);
        let n = n_contiguous(name, &shape, &strides).map_err(bad)?;
        let entry = self.storage(name, storage.key).await?;
        let entry_bytes = entry.end - entry.start;
        if storage.n_bytes != entry_bytes {
            return Err(bad(format!(
                "the storage '{}' of the weight '{name}' has {entry_bytes} bytes, and data.pkl speaks of {}",
                storage.key, storage.n_bytes
            )));
        }
        let bytes = view.number.bytes;
        let (Some(start), Some(end)) = (
            view.offset.checked_mul(bytes),
            view.offset
                .checked_add(n)
                .and_then(|numbers| numbers.checked_mul(bytes)),
        ) else {
            return Err(bad(too_large(name)));
        };
        if end > entry_bytes {
            return Err(bad(format!(
                "the weight '{name}' needs bytes {start}..{end} of its storage '{}', which has {entry_bytes}",
                storage.key
            )));
        }
        // Dimensions that usize cannot hold belong to a tensor that the file cannot hold, or to an empty one.
        let shape: Option<Vec<usize>> = shape.iter().map(|d| usize::try_from(*d).ok()).collect();
        Ok(Tensor {
            name: name.to_string(),
            dtype: dtype(view.number.name),
            shape: shape.ok_or_else(|| bad(too_large(name)))?,
            file,
            range: entry.start + start..entry.start + end,
        })
    }

    /// The bytes of the storage `key`, which the weight `name` needs.
    async fn storage(&mut self, name: &str, key: &'p str) -> Result<Range<u64>> {
        if let Some(range) = self.storages.get(key) {
            return Ok(range.clone());
        }
        let entry = format!("{}/data/{key}", self.folder);
        if !self.archive.has(&entry) {
            return Err(self.archive.bad(format!(
                "the weight '{name}' needs the entry '{entry}', which is not in the archive"
            )));
        }
        let range = self.archive.locate(&entry).await?;
        self.storages.insert(key, range.clone());
        Ok(range)
    }
}

/// Numbers of a tensor, after a look that its strides are those of a row-major tensor.
fn n_contiguous(name: &str, shape: &[u64], strides: &[u64]) -> Result<u64, String> {
    if shape.contains(&0) {
        return Ok(0);
    }
    let mut n = 1u64;
    for (size, stride) in shape.iter().zip(strides).rev() {
        // A dimension of 1 is never stepped along.
        if *size != 1 && *stride != n {
            return Err(format!(
                "the weight '{name}' of shape {shape:?} lies with strides {strides:?}, not row after row (a transpose or a slice); save it after .contiguous()"
            ));
        }
        n = n.checked_mul(*size).ok_or_else(|| too_large(name))?;
    }
    Ok(n)
}

fn too_large(name: &str) -> String {
    format!("the shape or offset of the weight '{name}' is impossibly large")
}

/// PyTorch's name of a number format.
fn dtype(name: &str) -> Result<Dtype, String> {
    match name {
        "float32" => Ok(Dtype::F32),
        "float16" => Ok(Dtype::F16),
        "bfloat16" => Ok(Dtype::Bf16),
        other => Err(other.to_string()),
    }
}

fn bad(source: &Source, problem: String) -> Error {
    Error::BadHeader {
        file: source.name().to_string(),
        problem,
    }
}
