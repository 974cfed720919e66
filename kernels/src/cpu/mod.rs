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
mod run;
mod scale;
mod store;
pub mod stream;
mod team;

use crate::{
    OutOfMemory,
    formats::{Rows, WeightInfo},
    memory::zeroed,
    op::{Act, Step},
    program::Program,
    sampler::{self, Sampling},
};
use cache::Cache;
use integers::Level;
use linear::Multiplier;
use packed::Packed;
use std::collections::VecDeque;
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
    /// With activations as 16-bit whole numbers, and keys and values as words: several times as fast.
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
    /// [`OutOfMemory`].
    pub fn new(
        program: &Program,
        weights: &[WeightInfo],
        context: usize,
        options: CpuOptions,
    ) -> Result<Self, OutOfMemory> {
        let slot_len =
            |slot: &crate::program::Slot| slot.width * if slot.single_row { 1 } else { CHUNK };
        let CpuOptions { arithmetic, crew } = options;
        let team = crew
            .map(|crew| Team::new(crew, arithmetic, program, weights))
            .transpose()?;
        Ok(Self {
            weights: weights.iter().map(Packed::new).collect::<Result<_, _>>()?,
            slots: program
                .slots
                .iter()
                .map(|slot| zeroed(slot_len(slot), "activations"))
                .collect::<Result<_, _>>()?,
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
}
