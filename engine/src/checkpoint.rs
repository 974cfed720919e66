//! A published model, opened: settings, tokenizer, chat template and the weights' headers, from a GGUF file or from
//! the files of a Hugging Face folder; and its forward pass, recorded under some settings.

mod folder;
mod gguf_file;

use crate::{
    Error, Result,
    model::{self, Arch, Switch},
    profile::{self, Manners, SIDECAR, Settings},
    program::Program,
    text::{chat::ChatTemplate, tokenizer::Tokenizer},
    weights::{Job, Scope, Tensor, Weights, source::Source, torch},
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// A model's headers and small files; the weights themselves are still in theirs.
pub struct Checkpoint {
    /// What its author calls it, or the file's name.
    pub name: String,
    /// The family.
    pub arch: &'static Arch,
    /// Its settings: config.json's, or a GGUF's metadata in the same words, and what a profile and the visitor's
    /// sidecar say.
    pub config: Value,
    /// What the sidecars said.
    pub sidecar: Settings,
    /// By the names that the family asks for.
    tensors: Vec<(String, Tensor)>,
    /// The files that the tensors lie in.
    pub sources: Vec<Source>,
    /// Text to ids and back.
    pub tokenizer: Tokenizer,
    /// Messages to a prompt; none in a base model.
    pub template: Option<ChatTemplate>,
    /// How it wants to be talked to.
    pub manners: Manners,
}

/// What a model's own files say.
struct Files {
    name: Option<String>,
    /// The family, where the container names it.
    arch: Option<&'static Arch>,
    config: Settings,
    /// A sidecar that was packed with the weights.
    sidecar: Settings,
    /// What they recommend, in a profile's words.
    recommended: Settings,
    tensors: Vec<(String, Tensor)>,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
}

impl Checkpoint {
    /// Opens a GGUF file, or the files of a Hugging Face folder (config.json, tokenizer.json, one or more
    /// *.safetensors or pytorch_model*.bin, and tokenizer_config.json, generation_config.json,
    /// chat_template.jinja, *.index.json where there are any), in any order, and the sidecars beside either
    /// (see [`profile`]). Reads headers and small files only.
    ///
    /// # Errors
    /// Whatever is wrong with the files, as a sentence.
    pub async fn open(sources: Vec<Source>) -> Result<Self> {
        let (sidecars, sources): (Vec<_>, Vec<_>) = sources
            .into_iter()
            .partition(|source| base_name(source) == SIDECAR);
        let Some(first) = sources.first() else {
            return Err(Error::BadRequest(
                "no file was given; choose a .gguf file, or all files of a model's folder".into(),
            ));
        };
        let files = if sources.len() == 1 && !folder::is_of_folder(first) {
            gguf_file::read(first).await?
        } else {
            folder::read(&sources).await?
        };
        let mut sidecar = files.sidecar.clone();
        for source in sidecars.iter().rev() {
            let settings = profile::object(SIDECAR, &source.read_all().await?)?;
            profile::lay_over(&mut sidecar, settings);
        }
        files.assemble(sources, sidecar)
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
        let build = |weights: &Scope<'_>| (self.arch.build)(&config, weights);
        let (program, jobs) = self.weights()?.record(self.arch.ignores, build)?;
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

impl Files {
    /// In rising order: what holds for the family, the model's files, profiles and sidecars.
    fn assemble(self, sources: Vec<Source>, sidecar: Settings) -> Result<Checkpoint> {
        let mut said = self.config;
        profile::lay_over(&mut said, sidecar.clone());
        let weights = Weights::new(weights_file(&sources), self.tensors.iter().cloned())?;
        let arch = match self.arch {
            Some(arch) => arch,
            None => model::arch_of_files(&Value::Object(said.clone()), &weights.root())?,
        };
        let family = profile::of_family(arch.model_types[0]);
        let mut manners = family.clone();
        profile::lay_over(&mut manners, self.recommended);
        profile::lay_over(&mut manners, sidecar.clone());
        let template = |settings: &Settings| match settings.get("chat_template") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(source)) => {
                ChatTemplate::new(source, self.tokenizer.names()).map(Some)
            }
            Some(_) => Err(Error::BadConfig {
                file: SIDECAR.into(),
                problem: "chat_template is no text".into(),
            }),
        };
        let template = match self.template {
            _ if sidecar.contains_key("chat_template") => template(&sidecar)?,
            Some(template) => Some(template),
            None => template(&family)?,
        };
        let mut config = family;
        profile::lay_over(&mut config, said);
        Ok(Checkpoint {
            name: self.name.unwrap_or_else(|| arch.model_types[0].into()),
            arch,
            config: Value::Object(config),
            manners: Manners::read(&manners)?,
            sidecar,
            tensors: self.tensors,
            sources,
            tokenizer: self.tokenizer,
            template,
        })
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

/// What found settings are remembered under: the same for the same files, and another when one of them changes its
/// name, its size or its last 4 KiB.
///
/// # Errors
/// [`Error::Source`]
pub async fn fingerprint(sources: &[Source]) -> Result<String> {
    let mut hasher = Sha256::new();
    for source in sources {
        let n_bytes = source.len();
        hasher.update(format!("{} {n_bytes}\n", source.name()));
        hasher.update(source.read(n_bytes.saturating_sub(4096)..n_bytes).await?);
    }
    Ok(format!("{:x}", hasher.finalize())[..24].to_owned())
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

fn base_name(source: &Source) -> &str {
    source.name().rsplit(['/', '\\']).next().unwrap_or_default()
}
