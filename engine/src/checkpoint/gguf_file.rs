//! A GGUF file, which holds all of a model.

use super::{Files, base_name};
use crate::{
    Error, Result, model,
    profile::Settings,
    text::{chat::ChatTemplate, tokenizer::Tokenizer},
    weights::{Dtype, Tensor, gguf, metadata::Metadata, source::Source},
};
use serde_json::{Value, json};

pub(super) async fn read(source: &Source) -> Result<Files> {
    let header = gguf::open(source, 0).await?;
    let metadata = &header.metadata;
    let (arch, dialect) = model::arch_of_gguf(metadata)?;
    let Value::Object(mut config) = (dialect.config)(metadata)? else {
        unreachable!("a dialect's config is an object");
    };
    let mut tensors = Vec::with_capacity(header.tensors.len());
    for tensor in header.tensors {
        if tensor.name == "rope_freqs.weight" {
            let factors = json!(read_f32(source, &tensor).await?);
            config.insert("rope_factors".into(), factors);
            continue;
        }
        let name = (dialect.rename)(&tensor.name).unwrap_or_else(|| tensor.name.clone());
        tensors.push((name, tensor));
    }
    let tokenizer = Tokenizer::from_gguf(metadata)?;
    let template = ChatTemplate::from_gguf(metadata, &tokenizer)?;
    Ok(Files {
        name: Some(title(metadata, source)),
        arch: Some(arch),
        config,
        sidecar: Settings::new(),
        recommended: Settings::new(),
        tensors,
        tokenizer,
        template,
    })
}

/// `general.basename` and `size_label` read better than `general.name`, which is often a training run's.
fn title(metadata: &Metadata, source: &Source) -> String {
    let text = |key| metadata.str(key).ok().filter(|s| !s.is_empty());
    match (
        text("general.basename"),
        text("general.size_label"),
        text("general.name"),
    ) {
        (Some(base), Some(size), _) => format!("{base} {size}"),
        (_, _, Some(name)) => name.into(),
        _ => base_name(source).trim_end_matches(".gguf").into(),
    }
}

/// A small f32 vector that the model's structure depends on.
async fn read_f32(source: &Source, tensor: &Tensor) -> Result<Vec<f32>> {
    if tensor.dtype != Ok(Dtype::F32) || tensor.range.end - tensor.range.start > 4096 {
        let format = tensor.dtype.as_ref().map_or_else(Clone::clone, |dtype| {
            format!("{dtype:?} of {:?}", tensor.shape)
        });
        return Err(Error::UnsupportedFormat {
            name: tensor.name.clone(),
            format,
        });
    }
    let bytes = source.read(tensor.range.clone()).await?;
    Ok(bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect())
}
