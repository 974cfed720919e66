//! The faster of two backends, found by letting both decode: how a GPU's dispatches compare with a small model's
//! arithmetic, and a software adapter with the CPU itself, no rule knows.

use crate::{
    Error, Result,
    checkpoint::Recording,
    gpu::Gpu,
    load::{Device, Loader, Stage},
    sampler::Sampling,
    session::{Session, Tick},
};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Packed bytes of the largest model that is raced: until one has lost, both backends hold its weights. What decodes a
/// larger one is memory, of which hardware reads more than a program does.
const MAX_BYTES: u64 = 128 << 20;
/// Context that a race needs, in tokens.
const MIN_CONTEXT: usize = 16;
/// How long each is timed.
const BUDGET_MS: f64 = 200.0;
/// Tokens before that, unless they take as long: pipelines compile, steps get under way.
const WARM_UP: usize = 4;
/// Tokens at most, however fast they come.
const LONGEST: usize = 256;

/// A race and what it was about. Remembered, it is not run again for the same model on the same device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Race {
    /// What ran, and where.
    pub terms: Terms,
    /// Tokens that the CPU decoded per second.
    pub cpu: f64,
    /// Tokens that the GPU decoded per second.
    pub gpu: f64,
}

/// What a race's outcome depends on, the model's files aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The GPU, as [`Gpu::describe`] says it.
    pub adapter: String,
    /// Threads of the CPU backend.
    pub threads: usize,
    /// Bytes of the packed weights.
    pub weight_bytes: u64,
}

impl Race {
    /// Whether the GPU is the one to run on.
    pub fn gpu_won(&self) -> bool {
        self.gpu >= self.cpu
    }

    /// Whether its outcome holds under `terms`: the same, or fewer threads against a GPU that won against more.
    fn holds(&self, terms: &Terms) -> bool {
        let threads = match self.gpu_won() {
            true => terms.threads.max(self.terms.threads),
            false => terms.threads,
        };
        let terms = Terms {
            threads,
            ..terms.clone()
        };
        self.terms == terms
    }

    /// `the CPU is 6.3x as fast here as WebGPU · SwiftShader (software): 45 against 7.1 tokens per second`
    pub fn reason(&self) -> String {
        let adapter = self.terms.adapter.as_str();
        let (winner, loser, fast, slow) = match self.gpu_won() {
            true => (adapter, "the CPU", self.gpu, self.cpu),
            false => ("the CPU", adapter, self.cpu, self.gpu),
        };
        let times = rounded(fast / slow.max(1e-9));
        let (fast, slow) = (rounded(fast), rounded(slow));
        format!(
            "{winner} is {times}x as fast here as {loser}: {fast} against {slow} tokens per second"
        )
    }
}

/// Two digits where it is small.
fn rounded(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// What an automatic choice begins with.
#[derive(Debug, PartialEq)]
enum Start {
    Cpu(String),
    Gpu(Option<String>),
    Race,
}

/// By what is known of the same model on the same device, else by a race, else by a rule.
fn start(terms: &Terms, is_software: bool, context: usize, known: Option<&Race>) -> Start {
    match known.filter(|race| race.holds(terms)) {
        Some(race) if race.gpu_won() => Start::Gpu(Some(race.reason())),
        Some(race) => Start::Cpu(race.reason()),
        None if terms.weight_bytes <= MAX_BYTES && context >= MIN_CONTEXT => Start::Race,
        None if is_software => Start::Cpu(format!("{} is a program on the CPU", terms.adapter)),
        None => Start::Gpu(None),
    }
}

/// Tokens per second that a session decodes. `go_on` is asked after every token.
///
/// # Errors
/// [`Error::Stopped`] when `go_on` breaks, and what the GPU fails with.
pub(crate) async fn pace(
    session: &mut Session,
    now_ms: impl Fn() -> f64,
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<f64> {
    let begun = now_ms();
    // Tokens so far and the time, at the end of the warm-up and now.
    let (mut first, mut last) = ((0, begun), (0, begun));
    let mut stopped = false;
    let mut on_tick = |tick| {
        stopped = go_on().is_break();
        if let Tick::Token(_) = tick {
            last = (last.0 + 1, now_ms());
            if last.0 == 1 || last.0 <= WARM_UP && last.1 - begun < BUDGET_MS {
                first = last;
            }
        }
        if stopped || last.0 > first.0 && last.1 - first.1 >= BUDGET_MS {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    let longest = LONGEST.min(session.context() - 1);
    session
        .run(&[0], &Sampling::greedy(), longest, &mut on_tick)
        .await?;
    session.forget();
    if stopped {
        return Err(Error::Stopped);
    }
    // A browser's clock may stand still for a while.
    Ok((last.0 - first.0) as f64 * 1e3 / (last.1 - first.1).max(0.1))
}

/// One of the two, until it fails.
struct Entrant {
    device: Device,
    session: Result<Session>,
}

impl Entrant {
    async fn new(mut device: Device, recording: &Recording, context: usize) -> Self {
        let session = device.session(recording, context).await;
        Self { device, session }
    }

    /// Does something with the session, as long as there is one.
    fn attempt(&mut self, work: impl FnOnce(&mut Session) -> Result<()>) {
        if let Ok(session) = &mut self.session
            && let Err(e) = work(session)
        {
            self.session = Err(e);
        }
    }
}

impl Loader<'_> {
    /// A session on the faster of the CPU and `gpu`, which becomes this loader's device; and the race, where there
    /// was one. `pace` gives tokens per second and asks its second argument whether to go on. Who fails has lost.
    ///
    /// # Errors
    /// As [`Loader::load`], when both fail.
    pub async fn load_faster(
        &mut self,
        recording: &Recording,
        context: usize,
        gpu: Gpu,
        known: Option<&Race>,
        pace: &mut impl AsyncFnMut(&mut Session, &mut dyn FnMut() -> ControlFlow<()>) -> Result<f64>,
    ) -> Result<(Session, Option<Race>)> {
        let terms = Terms {
            adapter: gpu.describe(),
            threads: self.device.threads(),
            weight_bytes: recording.weight_bytes(),
        };
        let (cpu, gpu) = (self.device.on_cpu(), self.device.on_gpu(gpu));
        let is_software = gpu.gpu().is_some_and(Gpu::is_software);
        self.device = match start(&terms, is_software, context, known) {
            Start::Race => return self.race(recording, context, terms, [cpu, gpu], pace).await,
            Start::Cpu(reason) => cpu.because(reason),
            Start::Gpu(Some(reason)) => gpu.because(reason),
            Start::Gpu(None) => gpu,
        };
        Ok((self.load(recording, context).await?, None))
    }

    async fn race(
        &mut self,
        recording: &Recording,
        context: usize,
        terms: Terms,
        [cpu, gpu]: [Device; 2],
        pace: &mut impl AsyncFnMut(&mut Session, &mut dyn FnMut() -> ControlFlow<()>) -> Result<f64>,
    ) -> Result<(Session, Option<Race>)> {
        let mut entrants = [
            Entrant::new(cpu, recording, context).await,
            Entrant::new(gpu, recording, context).await,
        ];
        // The files are read once for both.
        let mut upload = |weight: usize, rows: &_| {
            for entrant in &mut entrants {
                entrant.attempt(|session| session.backend().upload(weight, rows));
            }
            match &entrants {
                [
                    Entrant {
                        session: Err(e), ..
                    },
                    Entrant {
                        session: Err(_), ..
                    },
                ] => Err(e.clone()),
                _ => Ok(()),
            }
        };
        let n_bytes = self.fill(recording, Stage::Weights, &mut upload).await?;
        let mut rates = [0.0; 2];
        // The CPU first: a GPU may be busy for a while with steps that nobody waits for any more.
        for (entrant, rate) in entrants.iter_mut().zip(&mut rates) {
            let Ok(session) = &mut entrant.session else {
                continue;
            };
            let mut go_on = || self.tell(n_bytes, n_bytes, Stage::Race);
            // Only now is it certain that its kernels could be compiled.
            let found = match session.backend().settle().await {
                Ok(()) => pace(session, &mut go_on).await,
                Err(e) => Err(e),
            };
            match found {
                Ok(found) => *rate = found,
                Err(Error::Stopped) => return Err(Error::Stopped),
                Err(e) => entrant.session = Err(e),
            }
        }
        let [cpu, gpu] = entrants;
        let race = Race {
            terms,
            cpu: rates[0],
            gpu: rates[1],
        };
        let (winner, loser) = match (&cpu.session, &gpu.session) {
            (Err(_), Ok(_)) => (gpu, cpu),
            (Ok(_), Ok(_)) if race.gpu_won() => (gpu, cpu),
            _ => (cpu, gpu),
        };
        let (reason, race) = match &loser.session {
            Ok(_) => (race.reason(), Some(race)),
            Err(e) => (e.to_string(), None),
        };
        drop(loser.session);
        loser.device.close();
        self.device = winner.device.because(reason);
        Ok((winner.session?, race))
    }
}

#[cfg(test)]
mod tests;
