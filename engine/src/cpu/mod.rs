//! The CPU backend: interprets a program op by op. The reference in tests, and what runs where there is
//! no GPU worth using.

mod activate;
mod add;
mod attention;
mod blend;
mod cache;
mod combine;
mod conv;
mod embed;
mod exp;
mod expert_linear;
mod fourier;
mod gate;
mod integers;
mod last;
mod layer_norm;
mod linear;
mod map;
mod packed;
mod path_weights;
mod rms_norm;
mod rope;
mod route;
mod scale;
pub mod stream;
mod team;

use crate::{
    Result,
    formats::{Rows, WeightInfo},
    op::{Act, Op, Step, Weight},
    program::Program,
    sampler::{self, Sampling},
};
use cache::Cache;
use integers::Level;
use linear::{Matrix, Multiplier};
use packed::{Packed, out_of_memory, zeroed};
use std::{collections::VecDeque, ops::Range};
use team::Team;

pub use team::{Crew, Desk, serve};

/// Tokens per prefill call: enough that unpacking a weight is shared, few enough to stop quickly.
const CHUNK: usize = 32;

/// A program with its weights, activations and caches in memory.
#[derive(Debug)]
pub struct CpuBackend {
    program: Program,
    weights: Vec<Packed>,
    /// `[CHUNK, width]`, or `[1, width]` for a slot of the head.
    slots: Vec<Vec<f32>>,
    caches: Vec<Cache>,
    context: usize,
    sampling: Sampling,
    /// Tokens of the context as a bitset `[vocab / 32]`.
    seen: Vec<u32>,
    token: u32,
    drawn: VecDeque<u32>,
    multiplier: Multiplier,
    level: Level,
}

/// How packed weights are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arithmetic {
    /// With activations as they are: the reference.
    Floats,
    /// With activations as 16-bit whole numbers: several times as fast.
    #[default]
    Integers,
}

/// How the CPU works.
#[derive(Debug, Clone, Default)]
pub struct CpuOptions {
    /// How it multiplies.
    pub arithmetic: Arithmetic,
    /// Threads beside the caller's.
    pub crew: Option<Crew>,
}

impl CpuBackend {
    /// Allocates everything that the program will ever need.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(
        program: &Program,
        weights: &[WeightInfo],
        context: usize,
        options: CpuOptions,
    ) -> Result<Self> {
        let slot_len =
            |slot: &crate::program::Slot| slot.width * if slot.single_row { 1 } else { CHUNK };
        let CpuOptions { arithmetic, crew } = options;
        let team = crew
            .map(|crew| Team::new(crew, arithmetic, program, weights))
            .transpose()?;
        Ok(Self {
            weights: weights.iter().map(Packed::new).collect::<Result<_>>()?,
            slots: program
                .slots
                .iter()
                .map(|slot| zeroed(slot_len(slot), "activations"))
                .collect::<Result<_>>()?,
            caches: Cache::all(program, context, arithmetic)?,
            context,
            sampling: Sampling::greedy(),
            seen: vec![0; program.vocab().div_ceil(32)],
            token: 0,
            drawn: VecDeque::new(),
            multiplier: Multiplier::new(arithmetic, team),
            level: Level::detect(),
            program: program.clone(),
        })
    }

    /// Tokens that one [`CpuBackend::prefill`] takes at most.
    pub fn chunk(&self) -> usize {
        CHUNK
    }

    /// Puts some rows of a weight in place.
    pub fn upload(&mut self, weight: usize, rows: &Rows) {
        self.multiplier
            .upload(weight, &mut self.weights[weight], rows);
    }

    /// Starts a request: its sampling and the tokens `seen` by the repetition penalty, a bitset
    /// `[vocab / 32]`.
    pub fn begin(&mut self, sampling: &Sampling, seen: &[u32]) {
        assert_eq!(seen.len(), self.seen.len(), "bitset of another vocabulary");
        self.sampling = *sampling;
        self.seen.copy_from_slice(seen);
        self.drawn.clear();
    }

    /// Runs up to `chunk()` prompt tokens from position `pos`; with `sample`, the head and a draw too.
    pub fn prefill(&mut self, pos: usize, tokens: &[u32], sample: bool) {
        assert!(
            (1..=CHUNK).contains(&tokens.len()),
            "{} tokens in a chunk",
            tokens.len()
        );
        assert!(
            pos + tokens.len() <= self.context,
            "position {pos} + {} of {}",
            tokens.len(),
            self.context
        );
        let step = Step {
            pos: pos as u32,
            n: tokens.len() as u32,
        };
        self.run_all(0..self.program.head, step, tokens);
        if !sample {
            return;
        }
        self.run_all(self.program.head..self.program.ops.len(), step, tokens);
        let logits = &self.slots[self.program.slot(self.program.logits)][..self.program.vocab()];
        let last = (pos + tokens.len() - 1) as u32;
        self.token = sampler::sample(logits, &mut self.seen, &self.sampling, last);
        self.drawn.push_back(self.token);
    }

    /// Runs the token that was drawn last, at position `pos`, and draws the next.
    pub fn decode(&mut self, pos: usize) {
        self.prefill(pos, &[self.token], true);
    }

    /// The oldest draw that was not fetched yet.
    pub fn drawn(&mut self) -> u32 {
        self.drawn
            .pop_front()
            .expect("a draw is fetched once per step")
    }

    /// How many draws wait to be fetched.
    pub fn in_flight(&self) -> usize {
        self.drawn.len()
    }

    /// Forgets draws that were not fetched.
    pub fn discard(&mut self) {
        self.drawn.clear();
    }

    /// The last head's logits, `[vocab]`, before penalties.
    pub fn logits(&self) -> &[f32] {
        &self.slots[self.program.slot(self.program.logits)][..self.program.vocab()]
    }

    /// The first `n` rows of an activation, `[n, width]`, while its slot still holds it.
    pub fn read(&self, act: Act, n: usize) -> &[f32] {
        &self.slots[self.program.slot(act)][..n * act.width]
    }

    /// One op after another, but neighbours that multiply the same activation at once.
    fn run_all(&mut self, ops: Range<usize>, step: Step, tokens: &[u32]) {
        let mut rest = ops;
        while !rest.is_empty() {
            let first = rest.start;
            match factor(&self.program.ops[first]) {
                Some(x) => {
                    let at_once = self.at_once(rest.clone(), x);
                    self.multiply(first..first + at_once, x, step);
                    rest.start += at_once;
                }
                None => {
                    self.run(first, step, tokens);
                    rest.start += 1;
                }
            }
        }
    }

    /// How many ops from the first on multiply `x`, each into a slot of its own: what nobody reads has none.
    fn at_once(&self, ops: Range<usize>, x: Act) -> usize {
        let ops = &self.program.ops[ops];
        let slot = |op: &Op| op.writes().map(|y| self.program.slot(y));
        let mut n = 1;
        while n < ops.len()
            && factor(&ops[n]) == Some(x)
            && !ops[..n].iter().any(|op| slot(op) == slot(&ops[n]))
        {
            n += 1;
        }
        n
    }

    /// Products of one activation. As in [`CpuBackend::run`], what they write leaves its place meanwhile.
    fn multiply(&mut self, ops: Range<usize>, x: Act, step: Step) {
        let (program, weights) = (&self.program, &self.weights);
        let ops = &program.ops[ops];
        let slot = |op: &Op| op.writes().map_or(0, |y| program.slot(y));
        let take = |op: &Op| std::mem::take(&mut self.slots[slot(op)]);
        let mut ys: Vec<_> = ops.iter().map(take).collect();
        let act = |act: Act| act_in(program, &self.slots, act, step);
        let mut jobs = Vec::with_capacity(ops.len());
        for (y, op) in ops.iter().enumerate() {
            match *op {
                Op::Linear { w, .. } => {
                    jobs.push(linear::job(
                        matrix_in(weights, w),
                        rows_of(program, x, step),
                        y,
                    ));
                }
                Op::ExpertLinear {
                    w,
                    routing,
                    n_experts,
                    ..
                } => {
                    let (w, routing) = (matrix_in(weights, w), (act(routing), routing.width / 2));
                    jobs.extend(expert_linear::jobs(act(x), w, routing, n_experts, y));
                }
                _ => unreachable!("no product"),
            }
        }
        self.multiplier.multiply(act(x), &jobs, &mut ys);
        for (op, mut y) in ops.iter().zip(ys) {
            if let Op::Linear {
                bias: Some(bias), ..
            } = op
            {
                let n = rows_of(program, x, step) * bias.cols;
                linear::add_bias(&weights[bias.id], &mut y[..n]);
            }
            self.slots[slot(op)] = y;
        }
    }

    /// One op. The slot that it writes leaves its place meanwhile: an op never reads what it writes.
    fn run(&mut self, op: usize, step: Step, tokens: &[u32]) {
        let op = &self.program.ops[op];
        let n = step.n as usize;
        let mut out = Vec::new();
        if let Some(y) = op.writes() {
            out = std::mem::take(&mut self.slots[self.program.slot(y)]);
        }
        let y = op
            .writes()
            .map_or(0, |y| rows_of(&self.program, y, step) * y.width);
        let y = &mut out[..y];
        let x = |act: Act| act_in(&self.program, &self.slots, act, step);
        let w = |weight: Weight| &self.weights[weight.id];
        match op {
            Op::Embed { w: table, .. } => embed::run(w(*table), tokens, y),
            Op::RmsNorm {
                x: input,
                w: scale,
                eps,
                ..
            } => rms_norm::run(x(*input), scale.map(w), input.width, *eps, y),
            Op::LayerNorm {
                x: input,
                w: scale,
                bias,
                eps,
                ..
            } => layer_norm::run(x(*input), w(*scale), bias.map(w), *eps, y),
            Op::Rope {
                x: input,
                rotary,
                phases,
                ..
            } => {
                let phases = phases.map(x);
                rope::run(x(*input), rotary, phases, input.width, step.pos, y);
            }
            Op::Fourier { frequencies, .. } => fourier::run(frequencies, step.pos, y),
            Op::Conv {
                x: cache,
                w: taps,
                bias,
                ..
            } => {
                let (taps, bias) = (w(*taps).floats(), bias.map(|bias| w(bias).floats()));
                let cached = self.caches[cache.id].floats();
                conv::run(cached, &taps, bias.as_deref(), cache.width, step.pos, y);
            }
            Op::Scale {
                x: input, factors, ..
            } => scale::run(x(*input), &map::values(*factors, &w), input.width, y),
            Op::Gate {
                x: input,
                gates,
                range,
                ..
            } => gate::run(x(*input), x(*gates), input.width / gates.width, *range, y),
            Op::PathWeights {
                logits,
                bias,
                temperature,
                top_k,
                ..
            } => {
                let bias = bias.map(|bias| w(bias).floats());
                let (logits, n_paths) = (x(*logits), logits.width);
                path_weights::run(logits, n_paths, bias.as_deref(), *temperature, *top_k, y);
            }
            Op::Blend {
                sum,
                x: input,
                weights,
                path,
                ..
            } => {
                let place = (*path, weights.width);
                blend::run(sum.map(x), x(*input), x(*weights), place, y);
            }
            Op::Store { x: input, cache } => {
                let x = act_in(&self.program, &self.slots, *input, step);
                self.caches[cache.id].store(step.pos as usize, x, input.width);
            }
            Op::Attention {
                q,
                k,
                v,
                heads,
                metric,
                ..
            } => {
                let scorer = &attention::Scorer::new(*metric, heads.n_heads, w);
                let (q, heads, pos) = (x(*q), *heads, step.pos);
                match (&self.caches[k.id], &self.caches[v.id]) {
                    (Cache::Bytes(k), Cache::Bytes(v)) => {
                        self.level.run(attention::bytes::Attention {
                            q,
                            k,
                            v,
                            heads,
                            scorer,
                            pos,
                            y,
                        });
                    }
                    (k, v) => self.level.run(attention::Attention {
                        q,
                        k: k.floats(),
                        v: v.floats(),
                        heads,
                        scorer,
                        pos,
                        y,
                    }),
                }
            }
            Op::Activate {
                x: input,
                up,
                function,
                ..
            } => self.level.run(activate::Activation {
                x: x(*input),
                up: up.map(x),
                function: *function,
                y,
            }),
            Op::Route {
                logits,
                bias,
                router,
                ..
            } => {
                let bias = bias.map(|bias| w(bias).floats());
                route::run(x(*logits), logits.width, bias.as_deref(), *router, y);
            }
            Op::Combine {
                x: input,
                routing,
                y: out,
            } => combine::run(x(*input), x(*routing), routing.width / 2, out.width, y),
            Op::Add { a, b, .. } => add::run(x(*a), x(*b), y),
            Op::Last { x: input, .. } => last::run(&x(*input)[..n * input.width], y),
            Op::Linear { .. } | Op::ExpertLinear { .. } => unreachable!("multiplied at once"),
        }
        if let Some(y) = op.writes() {
            let slot = self.program.slot(y);
            self.slots[slot] = out;
        }
    }
}

/// What an op multiplies with a matrix.
fn factor(op: &Op) -> Option<Act> {
    match *op {
        Op::Linear { x, .. } | Op::ExpertLinear { x, .. } => Some(x),
        _ => None,
    }
}

/// The rows of an activation in this step.
fn rows_of(program: &Program, act: Act, step: Step) -> usize {
    if program.slots[program.slot(act)].single_row {
        1
    } else {
        step.n as usize
    }
}

/// An activation, `[rows, width]`.
fn act_in<'s>(program: &Program, slots: &'s [Vec<f32>], act: Act, step: Step) -> &'s [f32] {
    &slots[program.slot(act)][..rows_of(program, act, step) * act.width]
}

fn matrix_in(weights: &[Packed], weight: Weight) -> Matrix<'_> {
    Matrix {
        id: weight.id,
        w: &weights[weight.id],
    }
}
