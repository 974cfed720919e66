//! A published model, opened: program, load jobs, tokenizer and chat template from a GGUF file or from
//! the files of a Hugging Face folder.

use crate::{
    Error, Result,
    model::{self, Arch},
    program::Program,
    text::{
        chat::ChatTemplate,
        tokenizer::{HfFiles, Tokenizer},
    },
    weights::{Job, Tensor, Weights, gguf, metadata::Metadata, safetensors, source::Source, torch},
};
use serde_json::{Value, json};

/// Everything that a session needs, the weights themselves still in their files.
pub struct Checkpoint {
    /// What its author calls it, or the file's name.
    pub name: String,
    /// The family, as config.json or the GGUF spells it.
    pub architecture: String,
    /// The forward pass.
    pub program: Program,
    /// What brings the weights in, in the order of their ids.
    pub jobs: Vec<Job>,
    /// The files that the jobs read.
    pub sources: Vec<Source>,
    /// Tokens that the model was trained for.
    pub max_context: usize,
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
    let arch = model::arch_of_gguf(metadata)?;
    let mut config = (arch.gguf.config)(metadata)?;
    let mut tensors = Vec::with_capacity(header.tensors.len());
    for mut tensor in header.tensors {
        if tensor.name == "rope_freqs.weight" {
            config["rope_factors"] = json!(read_f32(source, &tensor).await?);
            continue;
        }
        tensor.name = (arch.gguf.rename)(&tensor.name).unwrap_or(tensor.name);
        tensors.push(tensor);
    }
    let tokenizer = Tokenizer::from_gguf(metadata)?;
    let template = ChatTemplate::from_gguf(metadata, &tokenizer)?;
    let name = gguf_title(metadata, source);
    assemble(name, arch, &config, tensors, sources, tokenizer, template)
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
    let files = HfFolder::read(&sources).await?;
    let config: Value = serde_json::from_slice(&files.config).map_err(|e| Error::BadConfig {
        file: "config.json".into(),
        problem: format!("it is no JSON: {e}"),
    })?;
    let arch = model::arch_of_config(&config)?;
    let mut tensors = Vec::new();
    for (file, source) in sources
        .iter()
        .enumerate()
        .filter(|(_, s)| is_safetensors(s))
    {
        tensors.extend(safetensors::open(source, file).await?.tensors);
    }
    // A folder may hold the same weights twice.
    if !sources.iter().any(is_safetensors) {
        for (file, source) in sources.iter().enumerate().filter(|(_, s)| is_torch(s)) {
            tensors.extend(torch::open(source, file).await?.tensors);
        }
    }
    let tokenizer = Tokenizer::from_hf(&HfFiles {
        tokenizer: &files.tokenizer,
        tokenizer_config: files.tokenizer_config.as_deref(),
        generation_config: files.generation_config.as_deref(),
        config: Some(&files.config),
    })?;
    let template = ChatTemplate::from_hf(
        files.tokenizer_config.as_deref(),
        files.chat_template.as_deref(),
        &tokenizer,
    )?;
    let name = config
        .get("_name_or_path")
        .and_then(Value::as_str)
        .filter(|s| !s.is_empty());
    let name = name.map_or_else(
        || arch.model_types[0].to_string(),
        |path| path.rsplit('/').next().unwrap_or(path).into(),
    );
    assemble(name, arch, &config, tensors, sources, tokenizer, template)
}

/// The small files of a Hugging Face folder.
struct HfFolder {
    config: Vec<u8>,
    tokenizer: Vec<u8>,
    tokenizer_config: Option<Vec<u8>>,
    generation_config: Option<Vec<u8>>,
    chat_template: Option<Vec<u8>>,
}

impl HfFolder {
    async fn read(sources: &[Source]) -> Result<Self> {
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
        Ok(Self {
            config: required(sources, "config.json").await?,
            tokenizer: required(sources, "tokenizer.json").await?,
            tokenizer_config: optional(sources, "tokenizer_config.json").await?,
            generation_config: optional(sources, "generation_config.json").await?,
            chat_template: optional(sources, "chat_template.jinja").await?,
        })
    }
}

fn assemble(
    name: String,
    arch: &Arch,
    config: &Value,
    tensors: Vec<Tensor>,
    sources: Vec<Source>,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
) -> Result<Checkpoint> {
    let file = sources.iter().map(base_name).find(|name| {
        name.ends_with(".gguf") || name.ends_with(".safetensors") || torch::is_weights(name)
    });
    let weights = Weights::new(file.unwrap_or("the model file"), tensors)?;
    let program = (arch.build)(config, &weights.root())?;
    let jobs = weights.finish(arch.ignores)?;
    let max_context = config
        .get("max_position_embeddings")
        .and_then(Value::as_u64)
        .unwrap_or(2048) as usize;
    Ok(Checkpoint {
        name,
        architecture: arch.model_types[0].into(),
        program,
        jobs,
        sources,
        max_context: max_context.max(1),
        tokenizer,
        template,
    })
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

async fn required(sources: &[Source], name: &str) -> Result<Vec<u8>> {
    find(sources, name)
        .ok_or_else(|| missing(name))?
        .read_all()
        .await
}

async fn optional(sources: &[Source], name: &str) -> Result<Option<Vec<u8>>> {
    match find(sources, name) {
        Some(source) => Ok(Some(source.read_all().await?)),
        None => Ok(None),
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
