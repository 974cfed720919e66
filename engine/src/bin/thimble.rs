//! `thimble`: chat with a model in the terminal, continue a text, or look into a model file.

#[path = "thimble/bench.rs"]
mod bench;
#[path = "thimble/download.rs"]
mod download;
#[path = "thimble/inspect.rs"]
mod inspect;
#[path = "thimble/logits.rs"]
mod logits;
#[path = "thimble/pack.rs"]
mod pack;
#[path = "thimble/talk.rs"]
mod talk;
#[path = "thimble/terminal.rs"]
mod terminal;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use engine::{
    BackendChoice, CpuOptions, Crew, Generation, LoadOptions, Precision, Sampling, gpu::GpuOptions,
    profile::Recommended,
};
use terminal::{Failure, note};

/// Small language models on the GPU or the CPU.
#[derive(Parser)]
#[command(name = "thimble", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Talk with a model; /new begins a new conversation, Ctrl-C ends an answer, Ctrl-D the chat.
    Chat(Chat),
    /// Answer one prompt.
    Run(Run),
    /// Say how well a model predicts a text: perplexity and bits per byte.
    Score {
        #[command(flatten)]
        model: Model,
        /// A text file.
        text: PathBuf,
    },
    /// Print the logits after some tokens as JSON, to compare them with another program's.
    Logits {
        #[command(flatten)]
        model: Model,
        /// Token ids, with commas between.
        #[arg(value_delimiter = ',', required = true)]
        ids: Vec<u32>,
    },
    /// Measure how fast a model runs here: prompts, answers, single ops, and memory for comparison.
    Bench {
        #[command(flatten)]
        model: Model,
        /// Write the figures as JSON.
        #[arg(long)]
        json: bool,
        /// Seconds after which nothing new is begun.
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..))]
        budget: u32,
    },
    /// Write a model's folder as one packed file, which opens like any other model.
    Pack {
        /// A folder with config.json, tokenizer.json and *.safetensors.
        from: PathBuf,
        /// The .safetensors file to write.
        to: PathBuf,
        /// 4 or 8 bits; auto goes by the model's size.
        #[arg(long, value_enum, default_value_t = PrecisionName::Auto)]
        precision: PrecisionName,
    },
    /// Show what is in a .gguf or .safetensors file, in a model's folder, or in a model on Hugging Face.
    Inspect {
        /// The file, the folder, or owner/name.
        file: PathBuf,
    },
}

#[derive(Args)]
struct Chat {
    #[command(flatten)]
    model: Model,
    /// Instructions that come before the conversation.
    #[arg(long)]
    system: Option<String>,
    #[command(flatten)]
    answer: Answer,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    model: Model,
    /// What to answer.
    #[arg(long, short)]
    prompt: String,
    /// Continue the prompt as it is, without the model's chat template.
    #[arg(long)]
    raw: bool,
    /// Instructions that come before the prompt.
    #[arg(long, conflicts_with = "raw")]
    system: Option<String>,
    #[command(flatten)]
    answer: Answer,
}

#[derive(Args)]
struct Model {
    /// A .gguf file, a folder with config.json, tokenizer.json and *.safetensors, or owner/name on Hugging Face.
    model: PathBuf,
    /// Where to run; auto takes the faster, which it tries out once for each model.
    #[arg(long, value_enum, default_value_t = BackendName::Auto)]
    backend: BackendName,
    /// Tokens of context to keep room for.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// How to keep weights that the file stores as whole floats; auto goes by the model's size.
    #[arg(long, value_enum, default_value_t = PrecisionName::Auto)]
    precision: PrecisionName,
    /// Threads of the CPU backend; as many as there are cores, up to 8, where it is not said.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: Option<u32>,
    /// Whether a GPU multiplies many tokens through tiles in workgroup memory; where it is not said, all but llvmpipe do.
    #[arg(long)]
    tiles: Option<bool>,
}

#[derive(Clone, Copy, ValueEnum)]
enum BackendName {
    Auto,
    Cpu,
    Gpu,
}

#[derive(Clone, Copy, ValueEnum)]
enum PrecisionName {
    Auto,
    Exact,
    Q8,
    Q4,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Self {
        match name {
            PrecisionName::Auto => Precision::Auto,
            PrecisionName::Exact => Precision::Exact,
            PrecisionName::Q8 => Precision::Q8,
            PrecisionName::Q4 => Precision::Q4,
        }
    }
}

#[derive(Args)]
struct Answer {
    /// Tokens at most.
    #[arg(long, short = 'n', default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: u32,
    /// 0 always takes the most likely token. This and what follows is, where not given, as the model's author
    /// recommends, and mild where they do not.
    #[arg(long, value_parser = number)]
    temperature: Option<f32>,
    /// Choose among this many most likely tokens; 0 among all.
    #[arg(long)]
    top_k: Option<u32>,
    /// Choose among the most likely tokens whose probabilities sum to this.
    #[arg(long, value_parser = fraction)]
    top_p: Option<f32>,
    /// Leave out tokens less likely than this fraction of the most likely one.
    #[arg(long, value_parser = fraction)]
    min_p: Option<f32>,
    /// Over 1: makes tokens that were there already less likely.
    #[arg(long, value_parser = penalty)]
    repetition_penalty: Option<f32>,
    /// The same seed gives the same answer; a new one each time when not given.
    #[arg(long)]
    seed: Option<u32>,
    /// End the answer at this text; may be given several times.
    #[arg(long)]
    stop: Vec<String>,
}

impl Model {
    fn options(&self) -> LoadOptions {
        LoadOptions {
            backend: match self.backend {
                BackendName::Auto => BackendChoice::Auto,
                BackendName::Cpu => BackendChoice::Cpu,
                BackendName::Gpu => BackendChoice::Gpu,
            },
            context: self.context.map(|n| n as usize),
            precision: self.precision.into(),
            cpu: CpuOptions {
                crew: Crew::of_threads(self.threads.map_or_else(default_threads, |n| n as usize)),
                ..CpuOptions::default()
            },
            gpu: GpuOptions {
                tiles: self.tiles,
                ..GpuOptions::default()
            },
            race: None,
        }
    }
}

impl Answer {
    /// For a model whose author recommends this.
    fn generation(&self, recommended: Recommended) -> Generation {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
        let clock = now.map_or(0, |d| d.as_nanos() as u32);
        let asked = Recommended {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
        };
        Generation {
            sampling: Sampling {
                seed: self.seed.unwrap_or(clock),
                ..asked.or(recommended.or(Sampling::MILD))
            },
            max_tokens: self.max_tokens as usize,
            stop: self.stop.clone(),
        }
    }
}

/// More than a few wait for memory, and for one another.
fn default_threads() -> usize {
    let n_cores = std::thread::available_parallelism();
    n_cores.map_or(1, |n| n.get().min(8))
}

fn number(text: &str) -> Result<f32, String> {
    let number: f32 = text.parse().map_err(|_| "it is not a number")?;
    let ok = number.is_finite() && number >= 0.0;
    if ok {
        Ok(number)
    } else {
        Err("it must be 0 or more".into())
    }
}

fn fraction(text: &str) -> Result<f32, String> {
    let ok = |x: &f32| *x <= 1.0;
    number(text)
        .ok()
        .filter(ok)
        .ok_or_else(|| "it must lie between 0 and 1".into())
}

fn penalty(text: &str) -> Result<f32, String> {
    let ok = |x: &f32| *x > 0.0;
    number(text)
        .ok()
        .filter(ok)
        .ok_or_else(|| "it must be over 0".into())
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Chat(chat) => {
            let Chat {
                model,
                system,
                answer,
            } = chat;
            pollster::block_on(talk::chat(&model.model, &model.options(), system, &answer))
        }
        Command::Run(run) => {
            let Run {
                model,
                prompt,
                raw,
                system,
                answer,
            } = run;
            let prompt = talk::Question {
                text: prompt,
                system,
                raw,
            };
            pollster::block_on(talk::run(&model.model, &model.options(), prompt, &answer))
        }
        Command::Score { model, text } => {
            pollster::block_on(talk::score(&model.model, &model.options(), &text))
        }
        Command::Logits { model, ids } => {
            pollster::block_on(logits::logits(&model.model, &model.options(), &ids))
        }
        Command::Bench {
            model,
            json,
            budget,
        } => {
            let options = engine::bench::Options {
                budget_ms: f64::from(budget) * 1e3,
            };
            pollster::block_on(bench::bench(&model.model, &model.options(), &options, json))
        }
        Command::Pack {
            from,
            to,
            precision,
        } => pollster::block_on(pack::pack(&from, &to, precision.into())),
        Command::Inspect { file } => pollster::block_on(inspect::inspect(&file)),
    };
    match outcome {
        Ok(()) | Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(Failure::Said(sentence)) => {
            note(&format!("thimble: {sentence}\n"));
            ExitCode::FAILURE
        }
    }
}
