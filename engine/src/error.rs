//! Everything that can go wrong because of something outside the engine.
//!
//! Rule: bytes from outside become an [`Error`]; a disagreement between our own parts is an `assert!`.

/// The engine's only error type. Each message says what is wrong, where, what was expected and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file or config names an architecture that no family in `model::ARCHS` answers to.
    #[error(
        "this model's architecture is '{model_type}', which Thimble cannot run; it knows: {known}. Choose a model of one of these"
    )]
    UnsupportedModel {
        /// `general.architecture` or `model_type`/`architectures` as the file spells it.
        model_type: String,
        /// The known names, separated by commas.
        known: String,
    },
    /// A tensor that the architecture needs is not in the file.
    #[error(
        "the weight '{name}' is missing from {file}; the file is incomplete or made for another program. Download it again, or choose another export of the model"
    )]
    MissingWeight {
        /// Full tensor name.
        name: String,
        /// The shape that is needed, as far as it is known.
        shape: Vec<usize>,
        /// The file that was searched.
        file: String,
    },
    /// A tensor is there, but its shape disagrees with the model's hyper-parameters.
    #[error(
        "the weight '{name}' has shape {got:?} where the model's settings ask for {expected:?}; the file and its config do not belong together"
    )]
    WeightShape {
        /// Full tensor name.
        name: String,
        /// Shape by the hyper-parameters, `[rows, cols]`.
        expected: Vec<usize>,
        /// Shape in the file.
        got: Vec<usize>,
    },
    /// Tensors of the file that the architecture did not use: the model would not be what its author made.
    #[error("the file holds {} weights that this architecture does not use", names.len())]
    UnusedWeights {
        /// Their names, as the architecture spells them.
        names: Vec<String>,
    },
    /// Weights are missing or left over.
    #[error(
        "{file} is not what its architecture needs: {n_missing} weights are missing, {n_left_over} are left over. It is incomplete, or made for another program. Download it again, or choose another export of the model.\n{table}"
    )]
    Misfit {
        /// The file.
        file: String,
        /// How many are missing.
        n_missing: usize,
        /// How many are left over.
        n_left_over: usize,
        /// A line for each, or for those of one kind.
        table: String,
    },
    /// A tensor in a number format that is not supported.
    #[error(
        "the weight '{name}' is stored as {format}, which Thimble cannot read; it reads F32, F16, BF16, Q8_0, Q4_0 and Q4_1. Choose another quantisation of the model"
    )]
    UnsupportedFormat {
        /// Full tensor name.
        name: String,
        /// The format as the container names it.
        format: String,
    },
    /// The container's header is not what its format says.
    #[error(
        "{file} is not a readable model file: {problem}. Download it again, or choose another file"
    )]
    BadHeader {
        /// File name or address.
        file: String,
        /// What is wrong, and where in the file.
        problem: String,
    },
    /// A hyper-parameter is missing or makes no sense.
    #[error("the model's settings in {file} cannot be used: {problem}")]
    BadConfig {
        /// `config.json`, or the GGUF's name.
        file: String,
        /// Which key, what was expected, what is there.
        problem: String,
    },
    /// Reading bytes failed.
    #[error("reading {file} failed: {problem}")]
    Source {
        /// File name or address.
        file: String,
        /// The operating system's or browser's reason.
        problem: String,
    },
    /// The tokenizer could not be built or used.
    #[error("the model's tokenizer cannot be used: {0}")]
    Tokenizer(String),
    /// The chat template could not be parsed or rendered.
    #[error("the model's chat template cannot be used: {0}")]
    Template(String),
    /// The conversation no longer fits.
    #[error(
        "the conversation needs {needed} tokens, and the context holds {context}; start a new chat, shorten the message, or raise the context length in the settings"
    )]
    ContextFull {
        /// Tokens that the request needs.
        needed: usize,
        /// Capacity in tokens.
        context: usize,
    },
    /// A request that makes no sense, such as an empty prompt.
    #[error("{0}")]
    BadRequest(String),
    /// There is no usable GPU.
    #[error("no usable GPU: {0}. The CPU can run the model instead")]
    NoGpu(String),
    /// An allocation was refused.
    #[error(transparent)]
    OutOfMemory(#[from] kernels::OutOfMemory),
    /// The GPU went away (driver reset, sleep, too long a computation).
    #[error("the GPU stopped working ({0}); load the model again, or use the CPU")]
    DeviceLost(String),
    /// No reading of a file with unstated conventions gives a model that knows English.
    #[error(
        "the weights were read, but none of {tried} ways to read them gives a model that knows English ({nll} nats per token at best, below {needed} are needed): the file is damaged, not trained, or packed in a way that Thimble does not know. Download it again, or tell its conventions in a thimble.json beside it"
    )]
    NotUnderstood {
        /// The best mean negative log-likelihood.
        nll: String,
        /// What it must stay below.
        needed: String,
        /// How many readings were tried.
        tried: usize,
    },
    /// The visitor cancelled.
    #[error("cancelled")]
    Stopped,
}

/// Shorthand for the engine's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;
