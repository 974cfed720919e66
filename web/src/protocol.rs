//! What the page and the worker say to each other: JSON by `postMessage`.
//!
//! A request travels as the array `[json, File…]`, an event as one string. Every job that the page
//! starts has a [`JobId`]; events carry it back, so that what an abandoned job still says is dropped.

mod figures;
mod remote;
mod sampling;

pub use figures::{Report, Stats, Table};
pub use remote::{Place, Remote, WebFile};
pub use sampling::{Preferences, Sampling};
use serde::{Deserialize, Serialize};

/// Numbers the page's jobs, upwards from 1.
pub type JobId = u32;

/// Both programs come from one package; a page that meets a worker of another version says so.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");

/// Page → worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Read `models/catalog.json`, and look up which models are stored on this device.
    Catalog {
        /// The hub that repositories are on.
        site: String,
    },
    /// Fetch the model if needed, and get it ready. Replaces the one that is loaded.
    Load {
        /// The job's number.
        id: JobId,
        /// What to load.
        model: ModelRef,
        /// What runs it.
        backend: BackendChoice,
        /// Context length in tokens.
        context: u32,
        /// What becomes of weights that its files store as whole floats.
        precision: Precision,
        /// Threads of the CPU backend; by the device and the model where it is not said.
        threads: Option<u32>,
    },
    /// Answer a conversation.
    Generate {
        /// The job's number.
        id: JobId,
        /// The conversation, oldest first, ending with the question.
        messages: Vec<Turn>,
        /// How to draw tokens.
        sampling: Sampling,
        /// At most this many tokens.
        max_tokens: u32,
    },
    /// Measure how fast the model is.
    Measure {
        /// The job's number.
        id: JobId,
    },
    /// Give up every job up to this one, finished or not; what was generated or downloaded stays.
    Stop {
        /// The last job to stop.
        id: JobId,
    },
    /// Let go of the model and its memory.
    Unload,
    /// Delete the models that are stored on this device.
    Forget,
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ModelRef {
    /// A model on the web; kept on this device after the first download.
    Remote(Remote),
    /// Files that the visitor picked: one GGUF, or a safetensors folder's. They travel beside the request.
    Local {
        /// What to call the model while it loads.
        name: String,
        /// Bytes of all files.
        bytes: u64,
    },
}

impl ModelRef {
    /// What to call the model while it loads.
    pub fn name(&self) -> &str {
        match self {
            Self::Remote(remote) => &remote.name,
            Self::Local { name, .. } => name,
        }
    }
}

/// What runs the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendChoice {
    /// The faster of the two on this device.
    #[default]
    Auto,
    /// The CPU (wasm).
    Cpu,
    /// WebGPU, a software adapter too.
    Gpu,
}

/// What becomes of weights that a file stores as whole floats. Weights that are packed stay as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// By the model's size.
    #[default]
    Auto,
    /// As stored.
    Exact,
    /// 8 bits.
    Q8,
    /// 4 bits.
    Q4,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What was said.
    pub content: String,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Instructions for the whole conversation.
    System,
    /// The visitor.
    User,
    /// The model.
    Assistant,
}

/// Worker → page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The worker is there and listens.
    Hello {
        /// Its [`BUILD`].
        build: String,
    },
    /// The models that can be had.
    Catalog {
        /// In the order of the catalog; then other repositories of the hub that are on this device.
        models: Vec<Offer>,
    },
    /// The catalog could not be read; files can still be opened.
    NoCatalog {
        /// A sentence.
        message: String,
    },
    /// A load goes on.
    Progress {
        /// The job.
        id: JobId,
        /// What is being done.
        phase: Phase,
        /// Bytes so far.
        done_bytes: u64,
        /// Bytes in all, where known.
        total_bytes: Option<u64>,
    },
    /// Something worth knowing about a load that goes on.
    Note {
        /// The job.
        id: JobId,
        /// A sentence.
        text: String,
    },
    /// The model can answer.
    Ready {
        /// The job.
        id: JobId,
        /// What was loaded.
        info: Info,
    },
    /// An answer begins.
    Reading {
        /// The job.
        id: JobId,
        /// Tokens of the conversation.
        n_prompt: u32,
    },
    /// The question is being read.
    Prefill {
        /// The job.
        id: JobId,
        /// Tokens read so far, without those that were in the cache.
        done: u32,
        /// Tokens to read.
        total: u32,
    },
    /// More of the answer.
    Text {
        /// The job.
        id: JobId,
        /// The text that came.
        text: String,
        /// In how many pieces it was made: about as many as tokens.
        n_pieces: u32,
    },
    /// The answer is whole, or was stopped.
    Done {
        /// The job.
        id: JobId,
        /// Why it ended.
        reason: Reason,
        /// Its figures.
        stats: Stats,
    },
    /// Measuring goes on.
    Measuring {
        /// The job.
        id: JobId,
        /// What is being measured.
        step: String,
        /// Steps that are over.
        done: u32,
        /// Steps in all.
        total: u32,
    },
    /// The model's speed is known.
    Measured {
        /// The job.
        id: JobId,
        /// What came of it.
        report: Report,
    },
    /// A load or a measurement was given up, as asked.
    Stopped {
        /// The job.
        id: JobId,
    },
    /// A job failed.
    Failed {
        /// The job.
        id: JobId,
        /// What is wrong, where, and what to do.
        message: String,
        /// Whether the worker still holds a model that works.
        model_usable: bool,
    },
    /// The worker broke and cannot go on; the page starts another.
    Crashed {
        /// What it said at the end.
        message: String,
    },
}

/// A model that the page offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The model.
    pub model: Remote,
    /// It is on this device: loading it needs no network.
    pub stored: bool,
}

/// Steps of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// From the network.
    Downloading,
    /// The checksum of what was downloaded.
    Checking,
    /// Readings of a file that leaves something open, one after the other.
    Calibrating,
    /// Weights into the backend's memory.
    Loading,
    /// The backend's programs, and a first run.
    Preparing,
    /// The CPU and the GPU decode in turn, to see which is faster.
    Racing,
}

impl Phase {
    /// Whether its bytes say how far it has come.
    pub fn counts_bytes(self) -> bool {
        matches!(self, Phase::Downloading | Phase::Checking | Phase::Loading)
    }
}

/// A loaded model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// The model's own name.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// Number of weights.
    pub n_parameters: u64,
    /// Their size, packed.
    pub weight_bytes: u64,
    /// Context length in tokens.
    pub context: u32,
    /// The longest that the model was made for.
    pub max_context: u32,
    /// "WebGPU · …" or "CPU · …".
    pub backend: String,
    /// Why this backend, where it was not asked for.
    pub backend_reason: Option<String>,
    /// What its files leave open and calibration found out just now.
    pub found: Option<String>,
    /// Whether it can chat: it has a chat template.
    pub has_template: bool,
    /// Sampling that its author recommends.
    pub recommended: Preferences,
    /// GPU dispatches per generated token.
    pub dispatches_per_token: Option<u32>,
    /// The worker's wasm memory.
    pub memory_bytes: u64,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The model was done.
    EndOfText,
    /// The most tokens that the settings allow.
    Length,
    /// No room in the context.
    ContextFull,
    /// The visitor stopped it.
    Stopped,
}
