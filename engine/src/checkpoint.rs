//! A published model, opened: program, load jobs, tokenizer and chat template from a GGUF file or from
//! the files of a Hugging Face folder.

use crate::{
    Error, Result,
    model::{self, Arch, Switch},
    program::Program,
    text::{
        chat::ChatTemplate,
        tokenizer::{HfFiles, Tokenizer},
    },
    weights::{Job, Tensor, Weights, gguf, metadata::Metadata, safetensors, source::Source, torch},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A model's headers and small files; the weights themselves are still in theirs.
pub struct Checkpoint {
    /// What its author calls it, or the file's name.
    pub name: String,
    /// The family.
    pub arch: &'static Arch,
    /// Its settings: config.json's, or a GGUF's metadata in the same words.
    pub config: Value,
    /// By the names that the family asks for.
    tensors: Vec<(String, Tensor)>,
    /// The files that the tensors lie in.
    pub sources: Vec<Source>,
    /// Text to ids and back.
    pub tokenizer: Tokenizer,
    /// Messages to a prompt; none in a base model.
    pub template: Option<ChatTemplate>,
}

impl Checkpoint {
    /// Opens a GGUF file, or the files of a Hugging Face folder (config.json, tokenizer.json, one or more
    /// *.safetensors or pytorch_model*.bin, and tokenizer_config.json, generation_config.json,
    /// chat_template.jinja, *.index.json where there are any), in any order. Reads headers and small files only.
    ///
    /// # Errors
    /// Whatever is wrong with the files, as a sentence.
    pub async fn open(sources: Vec<Source>) -> Result<Self> {
        let Some(first) = sources.first() else {
            return Err(Error::BadRequest(
                "no file was given; choose a .gguf file, or all files of a model's folder".into(),
            ));
        };
        let is_hf = |source: &Source| {
            let name = base_name(source);
            is_safetensors(source) || torch::is_torch(name) || name == "config.json"
        };
        if sources.len() == 1 && !is_hf(first) {
            return open_gguf(sources).await;
        }
        open_hf(sources).await
    }

    /// Records the forward pass under the checkpoint's own settings and some more.
    ///
    /// # Errors
    /// When a weight is missing, left over, or of another shape or format than the settings ask for.
    pub fn record(&self, settings: &Map<String, Value>) -> Result<Recording> {
        let mut config = self.config.clone();
        for (key, value) in settings {
            config[key] = value.clone();
        }
        let weights = self.weights()?;
        let program = (self.arch.build)(&config, &weights.root())?;
        let jobs = weights.finish(self.arch.ignores)?;
        Ok(Recording { program, jobs })
    }

    /// The tensors as their files hold them.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.iter().map(|(_, tensor)| tensor)
    }

    /// What the family's conventions leave open in these files.
    ///
    /// # Errors
    /// When two tensors have one name.
    pub fn switches(&self) -> Result<&'static [Switch]> {
        Ok((self.arch.switches)(&self.weights()?.root()))
    }

    fn weights(&self) -> Result<Weights> {
        Weights::new(weights_file(&self.sources), self.tensors.iter().cloned())
    }

    /// Tokens that the model was trained for, by whichever key says so; a sliding window is the end of what
    /// is attended to as a whole.
    pub fn max_context(&self) -> usize {
        let number = |key: &str| self.config[key].as_u64().map(|n| n as usize);
        let keys = [
            "max_position_embeddings",
            "max_position",
            "block_size",
            "max_seq_len",
        ];
        let longest = keys.into_iter().find_map(number).unwrap_or(2048);
        let window = number("sliding_window").unwrap_or(longest);
        longest.min(window).max(1)
    }
}

/// A forward pass and what brings its weights in, in the order of their ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The forward pass.
    pub program: Program,
    /// One per weight.
    pub jobs: Vec<Job>,
}

impl Recording {
    /// Weights of the model, each counted once.
    pub fn n_parameters(&self) -> u64 {
        self.jobs
            .iter()
            .map(|job| (job.info.rows * job.info.cols) as u64)
            .sum()
    }

    /// Bytes of the packed weights.
    pub fn weight_bytes(&self) -> u64 {
        self.jobs
            .iter()
            .map(|job| job.info.format.bytes(job.info.rows, job.info.cols) as u64)
            .sum()
    }
}

const TORCH_INDEX: &str = "pytorch_model.bin.index.json";

async fn open_gguf(sources: Vec<Source>) -> Result<Checkpoint> {
    let source = &sources[0];
    let header = gguf::open(source, 0).await?;
    let metadata = &header.metadata;
    let (arch, dialect) = model::arch_of_gguf(metadata)?;
    let mut config = (dialect.config)(metadata)?;
    let mut tensors = Vec::with_capacity(header.tensors.len());
    for tensor in header.tensors {
        if tensor.name == "rope_freqs.weight" {
            config["rope_factors"] = json!(read_f32(source, &tensor).await?);
            continue;
        }
        let name = (dialect.rename)(&tensor.name).unwrap_or_else(|| tensor.name.clone());
        tensors.push((name, tensor));
    }
    let tokenizer = Tokenizer::from_gguf(metadata)?;
    let template = ChatTemplate::from_gguf(metadata, &tokenizer)?;
    let name = gguf_title(metadata, source);
    assemble(name, arch, config, tensors, sources, tokenizer, template)
}

/// `general.basename` and `size_label` read better than `general.name`, which is often a training run's.
fn gguf_title(metadata: &Metadata, source: &Source) -> String {
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

async fn open_hf(sources: Vec<Source>) -> Result<Checkpoint> {
    let mut tensors = Vec::new();
    let mut config = json!({});
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
                config[key] = serde_json::from_str(&text).unwrap_or(Value::String(text));
            }
        }
        tensors.extend(header.tensors.into_iter().map(|t| (t.name.clone(), t)));
    }
    let files = HfFolder::read(&sources, &texts).await?;
    lay_over(&mut config, "config.json", files.config.as_deref())?;
    for sidecar in &files.sidecars {
        lay_over(&mut config, SIDECAR, Some(sidecar))?;
    }
    // A folder may hold the same weights twice.
    if !sources.iter().any(is_safetensors) {
        for (file, source) in sources.iter().enumerate().filter(|(_, s)| is_torch(s)) {
            let header = torch::open(source, file).await?;
            tensors.extend(header.tensors.into_iter().map(|t| (t.name.clone(), t)));
        }
    }
    let tokenizer = Tokenizer::from_hf(&HfFiles {
        tokenizer: &files.tokenizer,
        tokenizer_config: files.tokenizer_config.as_deref(),
        generation_config: files.generation_config.as_deref(),
        config: files.config.as_deref(),
    })?;
    let template = ChatTemplate::from_hf(
        files.tokenizer_config.as_deref(),
        files.chat_template.as_deref(),
        &tokenizer,
    )?;
    let weights = Weights::new(weights_file(&sources), tensors.iter().cloned())?;
    let arch = model::arch_of_files(&config, &weights.root())?;
    let path = config["_name_or_path"].as_str().unwrap_or_default();
    let name = match path.rsplit('/').next() {
        Some(name) if !name.is_empty() => name,
        _ => config["name"].as_str().unwrap_or(arch.model_types[0]),
    };
    let name = name.to_owned();
    assemble(name, arch, config, tensors, sources, tokenizer, template)
}

/// A visitor's own settings beside a published model: keys that go before those of config.json. Of several
/// such files the first goes before the others.
const SIDECAR: &str = "thimble.json";

/// Adds the keys of a JSON file, before those that are there.
fn lay_over(config: &mut Value, file: &str, bytes: Option<&[u8]>) -> Result<()> {
    let Some(bytes) = bytes else {
        return Ok(());
    };
    let bad = |problem: String| Error::BadConfig {
        file: file.into(),
        problem,
    };
    let over = serde_json::from_slice(bytes).map_err(|e| bad(format!("it is no JSON: {e}")))?;
    let Value::Object(over) = over else {
        return Err(bad("it is no JSON object".into()));
    };
    for (key, value) in over {
        config[key] = value;
    }
    Ok(())
}

/// The small files of a Hugging Face folder.
struct HfFolder {
    /// Some authors publish none.
    config: Option<Vec<u8>>,
    /// Those that go before the others come last.
    sidecars: Vec<Vec<u8>>,
    tokenizer: Vec<u8>,
    tokenizer_config: Option<Vec<u8>>,
    generation_config: Option<Vec<u8>>,
    chat_template: Option<Vec<u8>>,
}

impl HfFolder {
    /// Reads the files, those that are missing from the `texts` of a packed file's header.
    async fn read(sources: &[Source], texts: &BTreeMap<String, String>) -> Result<Self> {
        if let Some(index) = find(sources, "model.safetensors.index.json") {
            let index =
                safetensors::index("model.safetensors.index.json", &index.read_all().await?)?;
            for shard in index.shards() {
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
        let mut sidecars = Vec::new();
        sidecars.extend(texts.get(SIDECAR).map(|text| text.clone().into_bytes()));
        for source in sources.iter().filter(|s| base_name(s) == SIDECAR).rev() {
            sidecars.push(source.read_all().await?);
        }
        Ok(Self {
            config: optional(sources, texts, "config.json").await?,
            sidecars,
            tokenizer: optional(sources, texts, "tokenizer.json")
                .await?
                .ok_or_else(|| missing("tokenizer.json"))?,
            tokenizer_config: optional(sources, texts, "tokenizer_config.json").await?,
            generation_config: optional(sources, texts, "generation_config.json").await?,
            chat_template: optional(sources, texts, "chat_template.jinja").await?,
        })
    }
}

fn assemble(
    name: String,
    arch: &'static Arch,
    config: Value,
    tensors: Vec<(String, Tensor)>,
    sources: Vec<Source>,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
) -> Result<Checkpoint> {
    let own_template = || {
        let source = arch.chat_template?;
        Some(ChatTemplate::new(source, tokenizer.names()))
    };
    let template = match template {
        Some(template) => Some(template),
        None => own_template().transpose()?,
    };
    Ok(Checkpoint {
        name,
        arch,
        config,
        tensors,
        sources,
        tokenizer,
        template,
    })
}

fn weights_file(sources: &[Source]) -> &str {
    sources
        .iter()
        .map(base_name)
        .find(|name| {
            name.ends_with(".gguf") || name.ends_with(".safetensors") || torch::is_weights(name)
        })
        .unwrap_or("the model file")
}

/// A small f32 vector that the model's structure depends on.
async fn read_f32(source: &Source, tensor: &Tensor) -> Result<Vec<f32>> {
    if tensor.dtype != Ok(crate::weights::Dtype::F32)
        || tensor.range.end - tensor.range.start > 4096
    {
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

fn base_name(source: &Source) -> &str {
    source.name().rsplit(['/', '\\']).next().unwrap_or_default()
}
