//! The engine behind one door: open files, load, answer.

use crate::{
    Error, Result,
    bench::Shape,
    calibrate::{self, Found},
    checkpoint::Checkpoint,
    cpu::CpuOptions,
    gpu::GpuOptions,
    load::{Device, Loader},
    platform,
    profile::{Manners, Recommended},
    race::{self, Race},
    sampler::Sampling,
    session::{End, Run, Session, Tick},
    text::{
        chat::{ChatTemplate, Message},
        stream::TokenStream,
        tokenizer::Tokenizer,
    },
    weights::{precision::Precision, source::Source},
};
use serde_json::Map;
use std::ops::ControlFlow;

pub use crate::load::{Progress, Stage};

/// A model that is loaded and ready to answer.
pub struct Engine {
    session: Session,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    manners: Manners,
    info: Info,
    device: Device,
    shape: Shape,
}

/// Which backend to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendChoice {
    /// The faster of the two: both decode for a moment, unless the model is too large to lie in both memories, or the
    /// outcome is known ([`LoadOptions::race`]).
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU, a software adapter too; an error where there is none.
    Gpu,
}

/// How to load.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Where to run.
    pub backend: BackendChoice,
    /// Tokens of context to keep room for; 2,048 when `None`. Never more than the model was trained for.
    pub context: Option<usize>,
    /// What becomes of weights that a file stores as whole floats.
    pub precision: Precision,
    /// How the CPU works, where it does.
    pub cpu: CpuOptions,
    /// How the GPU works, where it does.
    pub gpu: GpuOptions,
    /// What an earlier load of the same files found ([`Info::race`]).
    pub race: Option<Race>,
}

/// Context when none is asked for: a long chat, at a quarter of the memory of 8,192 tokens.
const DEFAULT_CONTEXT: usize = 2048;

/// What was loaded, and where it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// The model's name.
    pub name: String,
    /// Its family.
    pub architecture: String,
    /// Its weights, each counted once.
    pub n_parameters: u64,
    /// Bytes of the packed weights.
    pub weight_bytes: u64,
    /// Capacity in tokens.
    pub context: usize,
    /// Tokens that the model was trained for.
    pub max_context: usize,
    /// What calibration found out about the files, where they left something open. Given back as the last
    /// [`SIDECAR`](crate::profile::SIDECAR), it need not be found again.
    pub found: Option<Found>,
    /// For the status line: `WebGPU · <adapter>` or `CPU`.
    pub backend: String,
    /// Why this backend, where it was not asked for.
    pub backend_reason: Option<String>,
    /// A race that was run just now. Given back as [`LoadOptions::race`], it need not be run again.
    pub race: Option<Race>,
    /// Whether it can chat; otherwise it only continues text.
    pub has_template: bool,
    /// Sampling that its author recommends.
    pub recommended: Recommended,
    /// On a GPU: dispatches that one decoded token costs, sampling included.
    pub dispatches_per_token: Option<usize>,
}

/// What to answer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A conversation, rendered by the model's own chat template.
    Chat(Vec<Message>),
    /// A text to continue.
    Text(String),
}

/// How to answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// Sampling settings.
    pub sampling: Sampling,
    /// Tokens at most.
    pub max_tokens: usize,
    /// Strings that end the answer and are not part of it.
    pub stop: Vec<String>,
}

/// What happens during an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `done` of `total` prompt tokens have been read.
    Prefill {
        /// Read so far, without those that were in the cache.
        done: usize,
        /// To be read.
        total: usize,
    },
    /// More of the answer: whole characters.
    Text(String),
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The model said so.
    EndOfText,
    /// A stop string came.
    StopString,
    /// `max_tokens` were reached.
    Length,
    /// The context is full.
    ContextFull,
    /// The callback said so.
    Stopped,
}

/// A finished answer's figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finished {
    /// Why it ended.
    pub reason: Reason,
    /// Tokens of the prompt.
    pub n_prompt: usize,
    /// Of these, how many were in the cache.
    pub n_reused: usize,
    /// Tokens drawn, an end token included.
    pub n_generated: usize,
    /// From the start to the first token.
    pub prefill_ms: f64,
    /// From the first token to the end.
    pub decode_ms: f64,
}

impl Engine {
    /// Opens the files (see [`Checkpoint::open`]) and brings the weights in. `on_progress` may break.
    ///
    /// # Errors
    /// Whatever is wrong with the files or the device; [`Error::Stopped`] when `on_progress` breaks.
    pub async fn load(
        files: Vec<Source>,
        options: &LoadOptions,
        on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Self> {
        let checkpoint = Checkpoint::open(files).await?;
        let max_context = checkpoint.max_context();
        let context = options
            .context
            .unwrap_or(DEFAULT_CONTEXT)
            .clamp(1, max_context);
        let (device, rival) = Device::choose(options).await?;
        let mut loader = Loader {
            checkpoint: &checkpoint,
            device,
            precision: options.precision,
            on_progress,
        };
        let found = loader.calibrate().await?;
        let settings = found.clone().map_or_else(Map::new, |found| found.settings);
        let recording = loader.record(&settings)?;
        let (mut session, race) = match rival {
            None => (loader.load(&recording, context).await?, None),
            Some(gpu) => {
                let mut pace = async |session: &mut _, go_on: &mut dyn FnMut() -> _| {
                    race::pace(session, platform::now_ms, go_on).await
                };
                let known = options.race.as_ref();
                loader
                    .load_faster(&recording, context, gpu, known, &mut pace)
                    .await?
            }
        };
        let device = loader.device;
        let weights = recording.jobs.iter().map(|job| job.info.clone()).collect();
        let info = Info {
            name: checkpoint.name.clone(),
            architecture: checkpoint.arch.model_types[0].into(),
            n_parameters: recording.n_parameters(),
            weight_bytes: recording.weight_bytes(),
            context,
            max_context,
            found,
            backend: device.describe(),
            backend_reason: device.reason.clone(),
            race,
            has_template: checkpoint.template.is_some(),
            recommended: checkpoint.manners.sampling,
            dispatches_per_token: session.backend().dispatches_per_token(),
        };
        Ok(Self {
            session,
            tokenizer: checkpoint.tokenizer,
            template: checkpoint.template,
            manners: checkpoint.manners,
            info,
            device,
            shape: Shape {
                program: recording.program,
                weights,
            },
        })
    }

    /// What was loaded, and where it runs.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The session, for figures and tests.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The tokens of a prompt, as the model wants them.
    ///
    /// # Errors
    /// [`Error::Template`] when the model has no chat template or it refuses the messages;
    /// [`Error::Tokenizer`].
    pub fn tokens(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        match (prompt, &self.template) {
            (Prompt::Text(text), _) => self.tokenizer.encode(text, false),
            (Prompt::Chat(messages), Some(template)) => {
                let text = template.render(messages, true)?;
                let mut tokens = self.tokenizer.encode(&text, true)?;
                if self.manners.begins_with_bos {
                    tokens.splice(0..0, self.tokenizer.bos());
                }
                Ok(tokens)
            }
            (Prompt::Chat(_), None) => Err(Error::Template(
                "this is a base model without one; it continues a text instead of chatting".into(),
            )),
        }
    }

    /// How well the model predicts a text that it reads from its beginning, in pieces as long as the context:
    /// `(tokens predicted, mean negative log-likelihood in nats per token)`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], [`Error::BadRequest`] for a text of less than two tokens, and what the GPU
    /// fails with.
    pub async fn score(
        &mut self,
        text: &str,
        on_progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<(usize, f64)> {
        let tokens = self.tokenizer.encode(text, false)?;
        if tokens.len() < 2 {
            return Err(Error::BadRequest(
                "a text of two words or more is needed".into(),
            ));
        }
        let (mut total, mut done) = (0.0, 0);
        for piece in tokens
            .chunks(self.info.context)
            .filter(|piece| piece.len() > 1)
        {
            let n = piece.len() - 1;
            total += f64::from(calibrate::nll(&mut self.session, piece).await?) * n as f64;
            done += n;
            if on_progress(done, tokens.len()).is_break() {
                return Err(Error::Stopped);
            }
        }
        Ok((done, total / done as f64))
    }

    /// Answers. Text comes through `on_event` as soon as it is sure; a break stops after the token and
    /// keeps the text and the cache.
    ///
    /// # Errors
    /// As [`Engine::tokens`] and [`Session::run`].
    pub async fn generate(
        &mut self,
        prompt: &Prompt,
        generation: &Generation,
        on_event: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Finished> {
        let tokens = self.tokens(prompt)?;
        let is_continuation = matches!(prompt, Prompt::Text(_));
        let trims_space = self.tokenizer.begins_with_space() && !is_continuation;
        let mut stop = generation.stop.clone();
        if !is_continuation {
            stop.extend(self.manners.stop.iter().cloned());
        }
        let mut stream = TokenStream::new(&stop, trims_space);
        let mut reason = None;
        let tokenizer = &self.tokenizer;
        let mut on_tick = |tick| {
            let token = match tick {
                Tick::Prefill { done, total } => return on_event(Event::Prefill { done, total }),
                Tick::Token(token) => token,
            };
            if tokenizer.eos_ids().contains(&token) {
                reason = Some(Reason::EndOfText);
                return ControlFlow::Break(());
            }
            let text = stream.push(&tokenizer.token_bytes(token));
            // An empty text asks all the same whether to stop.
            if on_event(Event::Text(text)).is_break() {
                return ControlFlow::Break(());
            }
            if stream.stopped() {
                reason = Some(Reason::StopString);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        let run = self
            .session
            .run(
                &tokens,
                &generation.sampling,
                generation.max_tokens,
                &mut on_tick,
            )
            .await?;
        let rest = stream.finish();
        if !rest.is_empty() {
            // The answer is over: whether the caller wants more does not matter.
            let _ = on_event(Event::Text(rest));
        }
        Ok(finished(run, reason, tokens.len()))
    }
}

fn finished(run: Run, reason: Option<Reason>, n_prompt: usize) -> Finished {
    let reason = reason.unwrap_or(match run.end {
        End::Broken => Reason::Stopped,
        End::Length => Reason::Length,
        End::ContextFull => Reason::ContextFull,
    });
    let Run {
        n_reused,
        n_generated,
        prefill_ms,
        decode_ms,
        ..
    } = run;
    Finished {
        reason,
        n_prompt,
        n_reused,
        n_generated,
        prefill_ms,
        decode_ms,
    }
}
