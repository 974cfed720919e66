//! Figures of answers and of measurements.

use serde::{Deserialize, Serialize};

/// Figures of one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Tokens of the conversation.
    pub n_prompt: u32,
    /// Those of them that were still in the cache.
    pub n_reused: u32,
    /// Tokens of the answer.
    pub n_generated: u32,
    /// Time to read the rest of the conversation.
    pub prefill_ms: f64,
    /// Time to write the answer.
    pub decode_ms: f64,
    /// The worker's wasm memory.
    pub memory_bytes: u64,
}

impl Stats {
    /// Tokens of the answer per second.
    pub fn tokens_per_second(&self) -> Option<f64> {
        (self.n_generated > 1 && self.decode_ms > 0.0)
            .then(|| f64::from(self.n_generated) * 1e3 / self.decode_ms)
    }
}

/// What measuring found; the engine's `bench::Report` as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The model and the machine, whole prompts and answers, single ops.
    pub tables: Vec<Table>,
    /// What was not measured, and why.
    pub left_out: Vec<String>,
    /// All of it as text, to pass on.
    pub text: String,
    /// All of it as JSON, for programs.
    pub json: String,
}

/// Rows of text under titles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Titles of the columns.
    pub columns: Vec<String>,
    /// As many cells each.
    pub rows: Vec<Vec<String>>,
}
