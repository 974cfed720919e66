//! GGUF files: hyper-parameters, tokenizer and tensors in one (docs/formats.md draws the layout).
//!
//! Only the header is read here. Every length in it is checked against what is left of the file before
//! anything is allocated, so no file can ask for more memory than a few times its own header.

use std::collections::HashSet;

use super::{
    Dtype, Tensor,
    metadata::{Metadata, Value},
    reader::{Reader, unsigned},
    source::{Source, looks_like},
};
use crate::{Error, Result};

/// The header of a GGUF file.
#[derive(Debug, Clone, PartialEq)]
pub struct Gguf {
    /// Format version, 2 or 3.
    pub version: u32,
    /// Hyper-parameters, tokenizer, chat template.
    pub metadata: Metadata,
    /// In the file's order.
    pub tensors: Vec<Tensor>,
}

/// Reads and checks the header; `file` is the source's index in the checkpoint.
///
/// # Errors
/// [`Error::BadHeader`] when the file is not a GGUF, is damaged or ends too early; [`Error::Source`] when it
/// cannot be read.
pub async fn open(source: &Source, file: usize) -> Result<Gguf> {
    let mut r = Reader::new(source);
    let version = read_version(&mut r).await?;
    let n_tensors = r.count(24, "the number of weights").await?;
    let n_entries = r.count(13, "the number of settings").await?;
    let metadata = read_metadata(&mut r, n_entries).await?;
    let alignment = alignment(&r, &metadata)?;
    let mut infos = Vec::new();
    for i in 0..n_tensors {
        infos.push(read_info(&mut r, i).await?);
    }
    let data_start = r.position().next_multiple_of(alignment);
    let tensors = place(source, file, infos, data_start, alignment)?;
    Ok(Gguf {
        version,
        metadata,
        tensors,
    })
}

async fn read_version(r: &mut Reader<'_>) -> Result<u32> {
    let head = r.source.read(0..r.source.len().min(32)).await?;
    if !head.starts_with(b"GGUF") {
        let found = String::from_utf8_lossy(&head[..head.len().min(4)]).into_owned();
        let hint = looks_like(&head);
        return Err(r.bad(format!(
            "a GGUF file begins with 'GGUF', this one with {found:?}{hint}"
        )));
    }
    r.bytes(4, "the magic").await?;
    let version = r.u32("the version").await?;
    match version {
        2 | 3 => Ok(version),
        1 => Err(r.bad("it is of GGUF version 1, and versions 2 and 3 are read; convert the model anew".into())),
        v if v.swap_bytes() < 0x1_0000 => Err(r.bad(
            "its numbers are big-endian, made for another kind of processor; little-endian GGUF is read".into(),
        )),
        v => Err(r.bad(format!("it is of GGUF version {v}, and versions 2 and 3 are read"))),
    }
}

async fn read_metadata(r: &mut Reader<'_>, n_entries: u64) -> Result<Metadata> {
    let mut metadata = Metadata::new(r.source.name());
    for i in 0..n_entries {
        let key = r.string(&format!("the key of setting {i}")).await?;
        let kind = r.u32(&format!("the type of '{key}'")).await?;
        let value = read_value(r, kind, &key).await?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(r.bad(format!("the setting '{key}' is there twice")));
        }
    }
    Ok(metadata)
}

async fn read_value(r: &mut Reader<'_>, kind: u32, key: &str) -> Result<Value> {
    let what = format!("the value of '{key}'");
    Ok(match kind {
        0 | 2 | 4 | 10 => {
            let size = scalar_bytes(kind).unwrap_or(8);
            Value::Uint(unsigned(r.bytes(size, &what).await?))
        }
        1 | 3 | 5 | 11 => {
            let size = scalar_bytes(kind).unwrap_or(8);
            Value::Int(signed(r.bytes(size, &what).await?))
        }
        6 => Value::Float(f64::from(f32::from_bits(r.u32(&what).await?))),
        7 => Value::Bool(r.bytes(1, &what).await?[0] != 0),
        8 => Value::Str(r.string(&what).await?),
        9 => read_array(r, key).await?,
        12 => Value::Float(f64::from_bits(unsigned(r.bytes(8, &what).await?))),
        _ => return Err(r.bad(format!("'{key}' has a value of the unknown type {kind}"))),
    })
}

/// Arrays of strings and of numbers; arrays of arrays are in no model's file and refused.
async fn read_array(r: &mut Reader<'_>, key: &str) -> Result<Value> {
    let what = format!("the array '{key}'");
    let kind = r.u32(&what).await?;
    if kind == 8 {
        let n = r.count(8, &what).await?;
        let mut strings = Vec::new();
        for _ in 0..n {
            strings.push(r.string(&what).await?);
        }
        return Ok(Value::Strings(strings));
    }
    let Some(size) = scalar_bytes(kind) else {
        return Err(r.bad(format!(
            "{what} has elements of type {kind}; numbers and strings are read"
        )));
    };
    let n = r.count(size as u64, &what).await?;
    // The file holds `n · size` more bytes, so the product fits.
    let bytes = r.bytes((n * size as u64) as usize, &what).await?;
    let items = bytes.chunks_exact(size);
    Ok(match kind {
        0 | 7 => Value::Bytes(bytes.to_vec()),
        2 | 4 => Value::Ints(items.map(|b| unsigned(b) as i64).collect()),
        1 | 3 | 5 | 11 => Value::Ints(items.map(signed).collect()),
        6 => Value::Floats(items.map(|b| f32::from_bits(unsigned(b) as u32)).collect()),
        12 => Value::Floats(items.map(|b| f64::from_bits(unsigned(b)) as f32).collect()),
        _ => {
            let ints: Option<Vec<i64>> = items.map(|b| i64::try_from(unsigned(b)).ok()).collect();
            Value::Ints(ints.ok_or_else(|| r.bad(format!("{what} has a number beyond 2^63")))?)
        }
    })
}

/// Bytes of a number or bool of GGUF's value type.
fn scalar_bytes(kind: u32) -> Option<usize> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Little-endian two's complement, at most eight bytes.
fn signed(bytes: &[u8]) -> i64 {
    let unused_bits = 64 - 8 * bytes.len() as u32;
    ((unsigned(bytes) << unused_bits) as i64) >> unused_bits
}

fn alignment(r: &Reader<'_>, metadata: &Metadata) -> Result<u64> {
    if metadata.get("general.alignment").is_none() {
        return Ok(32);
    }
    let n = metadata.usize("general.alignment")?;
    if !n.is_power_of_two() || n > 1 << 20 {
        return Err(r.bad(format!(
            "general.alignment is {n}, which is not a power of two up to 1048576"
        )));
    }
    Ok(n as u64)
}

/// One entry of the tensor table.
struct Info {
    name: String,
    /// As in the file: fastest dimension first.
    dims: Vec<usize>,
    kind: u32,
    /// From the start of the data.
    offset: u64,
}

async fn read_info(r: &mut Reader<'_>, i: u64) -> Result<Info> {
    let name = r.string(&format!("the name of weight {i}")).await?;
    let what = format!("the entry of the weight '{name}'");
    let n_dims = r.u32(&what).await?;
    if n_dims > 4 {
        return Err(r.bad(format!(
            "the weight '{name}' has {n_dims} dimensions, and GGML knows up to 4"
        )));
    }
    let mut dims = Vec::new();
    for _ in 0..n_dims {
        let dim = r.u64(&what).await?;
        let dim = usize::try_from(dim).ok().filter(|d| *d > 0);
        dims.push(
            dim.ok_or_else(|| r.bad(format!("the weight '{name}' has an impossible dimension")))?,
        );
    }
    Ok(Info {
        dims,
        kind: r.u32(&what).await?,
        offset: r.u64(&what).await?,
        name,
    })
}

/// Turns offsets into checked byte ranges of the file.
fn place(
    source: &Source,
    file: usize,
    infos: Vec<Info>,
    data_start: u64,
    alignment: u64,
) -> Result<Vec<Tensor>> {
    let bad = |problem: String| bad(source, problem);
    let mut names = HashSet::new();
    for info in &infos {
        if !names.insert(info.name.as_str()) {
            return Err(bad(format!("the weight '{}' is there twice", info.name)));
        }
    }
    let mut starts: Vec<u64> = infos
        .iter()
        .map(|i| data_start.saturating_add(i.offset))
        .collect();
    starts.sort_unstable();
    let mut tensors = Vec::new();
    for info in &infos {
        let name = &info.name;
        if info.offset % alignment != 0 {
            return Err(bad(format!(
                "the weight '{name}' is at offset {}, which is not a multiple of {alignment}",
                info.offset
            )));
        }
        let dtype = dtype(info.kind);
        let start = data_start.saturating_add(info.offset);
        let end = match &dtype {
            Ok(known) => start.saturating_add(n_bytes(info, *known).map_err(bad)?),
            // The size of an unknown format is at most what lies before the next weight.
            Err(_) => starts
                .get(starts.partition_point(|s| *s <= start))
                .copied()
                .unwrap_or(source.len()),
        };
        if start > source.len() || end > source.len() {
            return Err(bad(format!(
                "the file ends at byte {}, and the weight '{name}' needs bytes up to {}: the download is incomplete",
                source.len(),
                end.max(start)
            )));
        }
        tensors.push(Tensor {
            name: name.clone(),
            dtype,
            shape: info.dims.iter().rev().copied().collect(),
            file,
            range: start..end,
        });
    }
    check_overlap(&tensors).map_err(bad)?;
    Ok(tensors)
}

/// Bytes that dtype and shape ask for.
fn n_bytes(info: &Info, dtype: Dtype) -> Result<u64, String> {
    let (block_weights, block_bytes) = dtype.block();
    let row = info.dims.first().copied().unwrap_or(1);
    if row % block_weights != 0 {
        return Err(format!(
            "the weight '{}' is stored as {dtype:?} with rows of {row}, which is not a multiple of {block_weights}",
            info.name
        ));
    }
    let n = info
        .dims
        .iter()
        .try_fold(1u64, |n, d| n.checked_mul(*d as u64));
    n.and_then(|n| (n / block_weights as u64).checked_mul(block_bytes as u64))
        .ok_or_else(|| {
            format!(
                "the shape {:?} of the weight '{}' is impossibly large",
                info.dims, info.name
            )
        })
}

fn check_overlap(tensors: &[Tensor]) -> Result<(), String> {
    let mut order: Vec<&Tensor> = tensors.iter().collect();
    order.sort_by_key(|t| (t.range.start, t.range.end));
    for pair in order.windows(2) {
        let [a, b] = pair else { continue };
        if a.range.end > b.range.start || a.range == b.range {
            return Err(format!(
                "the weights '{}' and '{}' lie on the same bytes",
                a.name, b.name
            ));
        }
    }
    Ok(())
}

/// GGML's number for a tensor format; its name where Thimble does not know the format.
fn dtype(kind: u32) -> Result<Dtype, String> {
    Err(match kind {
        0 => return Ok(Dtype::F32),
        1 => return Ok(Dtype::F16),
        2 => return Ok(Dtype::Q4_0),
        3 => return Ok(Dtype::Q4_1),
        8 => return Ok(Dtype::Q8_0),
        30 => return Ok(Dtype::Bf16),
        6 => "Q5_0",
        7 => "Q5_1",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        other => return Err(format!("GGML type {other}")),
    }
    .to_string())
}

fn bad(source: &Source, problem: String) -> Error {
    Error::BadHeader {
        file: source.name().to_string(),
        problem,
    }
}
