//! How fast a loaded model is on this machine, and how near to what memory allows.
//!
//! [`Engine::measure`] times, through the backend that the model runs on: a plain read of memory (`stream`), whole
//! prompts and answers ([`Session::run`](crate::session::Session::run)), and single ops (`ops`). docs/performance.md
//! says what the figures mean.

mod clock;
mod ops;
mod report;
mod shape;

use crate::{
    Engine, Error, Result, Sampling, cpu,
    gpu::stream::Stream,
    load::Device,
    platform,
    session::{Run, Tick},
};
use clock::{Clock, Measured};
use std::ops::ControlFlow;

pub use report::{OpSpeed, Report, Speed, Table};
pub(crate) use shape::Shape;

/// Lengths of the prompts that are read, in tokens.
const PROMPTS: [usize; 3] = [32, 256, 1024];
/// Positions at which tokens are decoded, the farthest first: what is in the cache is not read again.
const POSITIONS: [usize; 4] = [2000, 512, 128, 16];
/// Tokens that are decoded at each.
const DECODED: usize = 32;
/// Words of the buffer whose reading is timed: 128 MiB, more than caches hold and what WebGPU lets a kernel bind.
const STREAM_WORDS: usize = 32 << 20;

const TOO_LONG: &str = "it would take too long";

/// What to spend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Milliseconds after which nothing new is begun. What would take longer is left out, and the report says so.
    pub budget_ms: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { budget_ms: 90e3 }
    }
}

/// How far measuring has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is being measured.
    pub step: &'a str,
    /// Steps that are over.
    pub done: usize,
    /// Steps in all.
    pub total: usize,
}

impl Engine {
    /// Measures the model on its backend. `on_progress` is called often, and may break. The cache is empty afterwards.
    ///
    /// # Errors
    /// [`Error::Stopped`] when `on_progress` breaks, and what the GPU fails with.
    pub async fn measure(
        &mut self,
        options: &Options,
        on_progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Report> {
        let info = self.info().clone();
        let cases = ops::cases(self.shape(), &reached(&POSITIONS, info.context));
        let mut bench = Bench {
            start_ms: platform::now_ms(),
            budget_ms: options.budget_ms,
            step: String::new(),
            done: 0,
            total: 1 + PROMPTS.len() + POSITIONS.len() + cases.len(),
            on_progress,
            report: Report::new(&info, self.shape().bytes_per_token()),
        };
        bench.stream(self.device()).await?;
        bench.whole(self).await?;
        let alone = self.device().alone();
        for (i, case) in cases.iter().enumerate() {
            if bench.left_ms() < 0.0 {
                bench.step = format!("{} of {} ops", cases.len() - i, cases.len());
                bench.leave_out(TOO_LONG.into());
                break;
            }
            bench.op(case, &alone).await?;
        }
        Ok(bench.report)
    }
}

/// Those of the positions, upwards, after which there is room for an answer.
fn reached(positions: &[usize], context: usize) -> Vec<usize> {
    let fits = |pos: &usize| pos + DECODED <= context;
    positions.iter().copied().filter(fits).rev().collect()
}

/// A measurement that goes on.
struct Bench<'a> {
    start_ms: f64,
    budget_ms: f64,
    step: String,
    done: usize,
    total: usize,
    on_progress: &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    report: Report,
}

impl Bench<'_> {
    fn clock(&self) -> Clock {
        Clock {
            now_ms: platform::now_ms,
            patience_ms: 1500.0,
        }
    }

    fn left_ms(&self) -> f64 {
        self.start_ms + self.budget_ms - platform::now_ms()
    }

    fn begin(&mut self, step: String) -> Result<()> {
        self.step = step;
        self.done += 1;
        self.go_on()
    }

    /// Begins a step of the whole model that is likely to take `needed_ms`. False where that is too long: a third
    /// of the budget is for single ops.
    fn begin_whole(&mut self, step: String, needed_ms: f64) -> Result<bool> {
        self.begin(step)?;
        let enough = needed_ms < self.left_ms() - self.budget_ms / 3.0;
        if !enough {
            self.leave_out(TOO_LONG.into());
        }
        Ok(enough)
    }

    fn leave_out(&mut self, why: String) {
        self.report.left_out.push(format!("{}: {why}", self.step));
    }

    /// Tells how far it has come, and asks whether to go on.
    fn go_on(&mut self) -> Result<()> {
        let progress = Progress {
            step: &self.step,
            done: self.done - 1,
            total: self.total,
        };
        match (self.on_progress)(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Stopped),
        }
    }

    /// How fast memory can be read.
    async fn stream(&mut self, device: &Device) -> Result<()> {
        self.begin("memory".into())?;
        let n_words = match device.gpu() {
            Some(gpu) => STREAM_WORDS.min(gpu.max_binding_bytes() as usize / 16 * 4),
            None => STREAM_WORDS,
        };
        if let Some(each) = self.unless_too_large(read(self.clock(), device, n_words).await)? {
            let bytes = 4 * n_words as u64;
            self.report.bandwidth_gb_s = Some(gigabytes_per_second(bytes, each.value));
        }
        Ok(())
    }

    /// Leaves a step out that the device has no room for.
    fn unless_too_large<T>(&mut self, made: Result<T>) -> Result<Option<T>> {
        match made {
            Ok(made) => Ok(Some(made)),
            Err(e @ Error::DeviceLost(_)) => Err(e),
            Err(e) => {
                self.leave_out(e.to_string());
                Ok(None)
            }
        }
    }

    /// Prompts, then answers after what was read of them.
    async fn whole(&mut self, engine: &mut Engine) -> Result<()> {
        let context = engine.info().context;
        let vocab = engine.session().vocab();
        let tokens = tokens(context, vocab);
        // What is compiled at a first run is no part of a prompt or an answer.
        engine.session().forget();
        if context > PROMPTS[0] {
            self.run(engine, &tokens[..2], 2).await?;
        }
        // Milliseconds per token of a prompt, as far as is known.
        let mut pace = 0.0;
        let mut n_cached = 0;
        for n in PROMPTS {
            let step = format!("prompt of {n} tokens");
            if n >= context {
                self.too_far(step, context);
                continue;
            }
            if self.begin_whole(step, pace * n as f64)? {
                let clock = self.clock();
                let run = async || {
                    engine.session().forget();
                    Ok(self.run(engine, &tokens[..n], 1).await?.prefill_ms)
                };
                let measured = clock.median(run).await?;
                pace = measured.value / n as f64;
                n_cached = n;
                self.report.prefill.push(speed(n, n as f64, measured));
            }
        }
        for pos in POSITIONS {
            let step = format!("answer at {pos} tokens");
            if pos + DECODED > context {
                self.too_far(step, context);
                continue;
            }
            let unread = pos.saturating_sub(n_cached);
            if self.begin_whole(step, pace * (unread + DECODED) as f64)? {
                let clock = self.clock();
                let run = async || {
                    let run = self.run(engine, &tokens[..pos], DECODED).await?;
                    // The first token belongs to the prompt.
                    Ok(run.decode_ms / (run.n_generated - 1) as f64)
                };
                let measured = clock.median(run).await?;
                self.report.decode.push(speed(pos, 1.0, measured));
            }
        }
        self.report.decode.reverse();
        engine.session().forget();
        Ok(())
    }

    fn too_far(&mut self, step: String, context: usize) {
        self.step = step;
        self.done += 1;
        self.leave_out(format!("the context ends at {context}"));
    }

    async fn run(&mut self, engine: &mut Engine, prompt: &[u32], max_tokens: usize) -> Result<Run> {
        let mut stopped = Ok(());
        let mut on_tick = |_: Tick| {
            stopped = self.go_on();
            match stopped {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        };
        let greedy = Sampling::greedy();
        let session = engine.session();
        let run = session
            .run(prompt, &greedy, max_tokens, &mut on_tick)
            .await?;
        stopped.map(|()| run)
    }

    /// One op, in a program of its own.
    async fn op(&mut self, case: &ops::Case, device: &Device) -> Result<()> {
        let tokens = if case.n == 1 { "token" } else { "tokens" };
        self.begin(format!("{}, {} {tokens}", case.name(), case.n))?;
        let Some(mut run) = self.unless_too_large(case.prepare(device).await)? else {
            return Ok(());
        };
        let clock = Clock {
            patience_ms: 300.0,
            ..self.clock()
        };
        let steps = async |times| {
            self.go_on()?;
            run.steps(times).await?;
            platform::yield_now().await;
            Ok(())
        };
        let step = clock.each(steps).await?;
        let each_ms = step.value / run.n_copies as f64;
        let speed = OpSpeed::new(case, each_ms, step.n_runs, self.report.bandwidth_gb_s);
        self.report.ops.push(speed);
        Ok(())
    }
}

/// Milliseconds that reading so many words takes.
async fn read(clock: Clock, device: &Device, n_words: usize) -> Result<Measured> {
    let word = |i: usize| (i as u32).wrapping_mul(2_654_435_761);
    if let Some(gpu) = device.gpu() {
        let stream = Stream::new(gpu, n_words, word).await?;
        return clock.each(async |times| stream.read(times).await).await;
    }
    let words = cpu::stream::buffer(n_words, word)?;
    let read = async |times| {
        for _ in 0..times {
            std::hint::black_box(cpu::stream::sum(std::hint::black_box(&words)));
        }
        platform::yield_now().await;
        Ok(())
    };
    clock.each(read).await
}

/// `n` tokens of a text without sense.
fn tokens(n: usize, vocab: usize) -> Vec<u32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % vocab as u32
    };
    (0..n).map(|_| next()).collect()
}

/// Of `n_tokens` in each run of so many milliseconds.
fn speed(at: usize, n_tokens: f64, measured: Measured) -> Speed {
    Speed {
        tokens: at,
        tokens_per_second: n_tokens * 1e3 / measured.value.max(1e-6),
        runs: measured.n_runs,
    }
}

fn gigabytes_per_second(bytes: u64, ms: f64) -> f64 {
    bytes as f64 / ms.max(1e-6) / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_of_the_vocabulary() {
        let text = tokens(500, 7);
        assert!(text.iter().all(|&token| token < 7));
        assert!((0..7).all(|token| text.contains(&token)));
        assert_eq!(reached(&POSITIONS, 544), [16, 128, 512]);
    }
}
