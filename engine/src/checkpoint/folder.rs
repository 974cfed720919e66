//! The files of a Hugging Face folder, or one packed file that holds their texts.

use super::{Files, base_name};
use crate::{
    Error, Result,
    profile::{self, Recommended, SIDECAR, Settings},
    text::{
        chat::ChatTemplate,
        tokenizer::{HfFiles, Tokenizer},
    },
    weights::{safetensors, source::Source, torch},
};
use serde_json::Value;
use std::collections::BTreeMap;

const INDEX: &str = "model.safetensors.index.json";
const TORCH_INDEX: &str = "pytorch_model.bin.index.json";

/// Whether a file, though it is alone, is one of a folder's.
pub(super) fn is_of_folder(source: &Source) -> bool {
    let name = base_name(source);
    is_safetensors(source) || torch::is_torch(name) || name == "config.json"
}

pub(super) async fn read(sources: &[Source]) -> Result<Files> {
    let mut tensors = Vec::new();
    let mut config = Settings::new();
    let mut texts = BTreeMap::new();
    for (file, source) in sources
        .iter()
        .enumerate()
        .filter(|(_, s)| is_safetensors(s))
    {
        let header = safetensors::open(source, file).await?;
        for (key, text) in header.metadata {
            if key.contains('.') {
                // A file of the folder, by `thimble pack`.
                texts.insert(key, text);
            } else {
                // Some authors keep a few settings here.
                let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                config.insert(key, value);
            }
        }
        tensors.extend(header.tensors.into_iter().map(|t| (t.name.clone(), t)));
    }
    let small = SmallFiles::read(sources, &texts).await?;
    if let Some(bytes) = &small.config {
        profile::lay_over(&mut config, profile::object("config.json", bytes)?);
    }
    let sidecar = match texts.get(SIDECAR) {
        Some(text) => profile::object(SIDECAR, text.as_bytes())?,
        None => Settings::new(),
    };
    let recommended = small.generation_config.as_deref();
    let recommended = recommended.map(Recommended::of_generation_config);
    // A folder may hold the same weights twice.
    if !sources.iter().any(is_safetensors) {
        for (file, source) in sources.iter().enumerate().filter(|(_, s)| is_torch(s)) {
            let header = torch::open(source, file).await?;
            tensors.extend(header.tensors.into_iter().map(|t| (t.name.clone(), t)));
        }
    }
    let tokenizer = Tokenizer::from_hf(&HfFiles {
        tokenizer: &small.tokenizer,
        tokenizer_config: small.tokenizer_config.as_deref(),
        generation_config: small.generation_config.as_deref(),
        config: small.config.as_deref(),
    })?;
    let template = ChatTemplate::from_hf(
        small.tokenizer_config.as_deref(),
        small.chat_template.as_deref(),
        &tokenizer,
    )?;
    Ok(Files {
        name: title(&config),
        arch: None,
        config,
        sidecar,
        recommended: recommended.unwrap_or_default(),
        tensors,
        tokenizer,
        template,
    })
}

fn title(config: &Settings) -> Option<String> {
    let text = |key| config.get(key).and_then(Value::as_str);
    let path = text("_name_or_path").and_then(|path| path.rsplit('/').next());
    let name = path.filter(|name| !name.is_empty()).or(text("name"))?;
    Some(name.to_owned())
}

/// The small files of a folder.
struct SmallFiles {
    /// Some authors publish none.
    config: Option<Vec<u8>>,
    tokenizer: Vec<u8>,
    tokenizer_config: Option<Vec<u8>>,
    generation_config: Option<Vec<u8>>,
    chat_template: Option<Vec<u8>>,
}

impl SmallFiles {
    /// Reads the files, those that are missing from the `texts` of a packed file's header; sees to it that every
    /// shard is there.
    async fn read(sources: &[Source], texts: &BTreeMap<String, String>) -> Result<Self> {
        if let Some(index) = find(sources, INDEX) {
            for shard in safetensors::index(INDEX, &index.read_all().await?)?.shards() {
                find(sources, &shard).ok_or_else(|| missing(&shard))?;
            }
        } else if !sources.iter().any(is_safetensors) {
            if let Some(index) = find(sources, TORCH_INDEX) {
                for shard in torch::index(TORCH_INDEX, &index.read_all().await?)?.shards() {
                    find(sources, &shard).ok_or_else(|| missing(&shard))?;
                }
            } else if !sources.iter().any(is_torch) {
                return Err(missing("model.safetensors"));
            }
        }
        Ok(Self {
            config: optional(sources, texts, "config.json").await?,
            tokenizer: optional(sources, texts, "tokenizer.json")
                .await?
                .ok_or_else(|| missing("tokenizer.json"))?,
            tokenizer_config: optional(sources, texts, "tokenizer_config.json").await?,
            generation_config: optional(sources, texts, "generation_config.json").await?,
            chat_template: optional(sources, texts, "chat_template.jinja").await?,
        })
    }
}

async fn optional(
    sources: &[Source],
    texts: &BTreeMap<String, String>,
    name: &str,
) -> Result<Option<Vec<u8>>> {
    match find(sources, name) {
        Some(source) => Ok(Some(source.read_all().await?)),
        None => Ok(texts.get(name).map(|text| text.clone().into_bytes())),
    }
}

fn missing(name: &str) -> Error {
    Error::BadRequest(format!(
        "'{name}' is not among the chosen files; choose a .gguf file, or all files of the model's folder together"
    ))
}

fn find<'s>(sources: &'s [Source], name: &str) -> Option<&'s Source> {
    sources.iter().find(|source| base_name(source) == name)
}

fn is_safetensors(source: &Source) -> bool {
    base_name(source).ends_with(".safetensors")
}

fn is_torch(source: &Source) -> bool {
    torch::is_weights(base_name(source))
}
