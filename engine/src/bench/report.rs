//! What was measured, as data and as tables.

use super::{gigabytes_per_second, ops::Case};
use crate::Info;
use serde::Serialize;
use std::fmt;

/// Everything that was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The model's name.
    pub model: String,
    /// What it ran on.
    pub backend: String,
    /// Its weights, each counted once.
    pub n_parameters: u64,
    /// Bytes of the packed weights.
    pub weight_bytes: u64,
    /// Of these, what one decoded token reads.
    pub bytes_per_token: u64,
    /// On a GPU: dispatches of one decoded token.
    pub dispatches_per_token: Option<usize>,
    /// Capacity in tokens.
    pub context: usize,
    /// A plain read of memory, in 10⁹ bytes per second.
    pub bandwidth_gb_s: Option<f64>,
    /// Prompts, by their length.
    pub prefill: Vec<Speed>,
    /// Answers, by how many tokens stand before them.
    pub decode: Vec<Speed>,
    /// Single ops.
    pub ops: Vec<OpSpeed>,
    /// What was not measured, and why.
    pub left_out: Vec<String>,
}

/// The speed of a prompt or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speed {
    /// Of the prompt, or before the answer.
    pub tokens: usize,
    /// Tokens of a prompt by the time to the first token of its answer, or tokens of an answer.
    pub tokens_per_second: f64,
    /// Runs that it is the median of.
    pub runs: usize,
}

/// The speed of an op.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpSpeed {
    /// The op and its sizes.
    pub op: String,
    /// Tokens at once.
    pub tokens: usize,
    /// Time of one op.
    pub microseconds: f64,
    /// Weights, or keys and values, that are read, in 10⁹ bytes per second.
    pub gb_s: Option<f64>,
    /// Of what a plain read of memory reaches; over 1 where caches hold what is read.
    pub share_of_bandwidth: Option<f64>,
    /// Additions and multiplications, 10⁹ per second.
    pub gflop_s: Option<f64>,
    /// Runs that it is the median of.
    pub runs: usize,
}

impl OpSpeed {
    pub(super) fn new(case: &Case, ms: f64, runs: usize, bandwidth_gb_s: Option<f64>) -> Self {
        let gb_s = case.bytes().map(|bytes| gigabytes_per_second(bytes, ms));
        Self {
            op: case.name(),
            tokens: case.n,
            microseconds: ms * 1e3,
            gb_s,
            share_of_bandwidth: gb_s.zip(bandwidth_gb_s).map(|(read, all)| read / all),
            gflop_s: case.flop().map(|flop| flop as f64 / ms.max(1e-6) / 1e6),
            runs,
        }
    }
}

/// Rows of text under titles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Titles of the columns; the first is that of the whole.
    pub columns: Vec<String>,
    /// As many cells each.
    pub rows: Vec<Vec<String>>,
}

impl Report {
    pub(super) fn new(info: &Info, bytes_per_token: u64) -> Self {
        Self {
            model: info.name.clone(),
            backend: info.backend.clone(),
            n_parameters: info.n_parameters,
            weight_bytes: info.weight_bytes,
            bytes_per_token,
            dispatches_per_token: info.dispatches_per_token,
            context: info.context,
            bandwidth_gb_s: None,
            prefill: Vec::new(),
            decode: Vec::new(),
            ops: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// For people: the model and the machine, prompts and answers, ops.
    pub fn tables(&self) -> Vec<Table> {
        vec![self.facts(), self.speeds(), self.op_table()]
    }

    fn facts(&self) -> Table {
        let bytes = |n: u64| format!("{}B", thousands(n));
        let bandwidth = self.bandwidth_gb_s;
        let facts = [
            Some(("runs on", self.backend.clone())),
            Some(("parameters", thousands(self.n_parameters))),
            Some(("weights", bytes(self.weight_bytes))),
            Some(("weights read per token", bytes(self.bytes_per_token))),
            self.dispatches_per_token
                .map(|n| ("dispatches per token", n.to_string())),
            Some(("context", format!("{} tokens", self.context))),
            bandwidth.map(|gb_s| ("memory", format!("{} GB/s", figure(gb_s)))),
        ];
        let row = |(name, value): (&str, String)| vec![name.to_string(), value];
        Table {
            columns: vec![self.model.clone(), String::new()],
            rows: facts.into_iter().flatten().map(row).collect(),
        }
    }

    fn speeds(&self) -> Table {
        let prefill = self.prefill.iter().map(|speed| {
            let name = format!("prompt of {} tokens", speed.tokens);
            vec![
                name,
                figure(speed.tokens_per_second),
                String::new(),
                String::new(),
            ]
        });
        let decode = self.decode.iter().map(|speed| {
            let gb_s = speed.tokens_per_second * self.bytes_per_token as f64 / 1e9;
            vec![
                format!("answer at {} tokens", speed.tokens),
                figure(speed.tokens_per_second),
                figure(gb_s),
                percent(self.bandwidth_gb_s.map(|all| gb_s / all)),
            ]
        });
        Table {
            columns: ["whole model", "tokens/s", "GB/s", "of memory"]
                .map(String::from)
                .into(),
            rows: prefill.chain(decode).collect(),
        }
    }

    fn op_table(&self) -> Table {
        let row = |op: &OpSpeed| {
            vec![
                op.op.clone(),
                op.tokens.to_string(),
                figure(op.microseconds),
                op.gb_s.map_or_else(String::new, figure),
                percent(op.share_of_bandwidth),
                op.gflop_s.map_or_else(String::new, figure),
            ]
        };
        let columns = ["op", "tokens", "µs", "GB/s", "of memory", "GFLOP/s"];
        Table {
            columns: columns.map(String::from).into(),
            rows: self.ops.iter().map(row).collect(),
        }
    }
}

/// 1234567 → "1.23 M".
fn thousands(n: u64) -> String {
    match n as f64 {
        n if n < 1e6 => format!("{} k", figure(n / 1e3)),
        n => format!("{} M", figure(n / 1e6)),
    }
}

/// Three digits that count.
fn figure(x: f64) -> String {
    match x.abs() {
        x if x < 9.995 => format!("{x:.2}"),
        x if x < 99.95 => format!("{x:.1}"),
        x => format!("{x:.0}"),
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(String::new, |share| format!("{:.0} %", share * 100.0))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in self.tables() {
            writeln!(f, "{table}")?;
        }
        for line in &self.left_out {
            writeln!(f, "left out: {line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Table {
    /// Columns side by side, figures to the right.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = || std::iter::once(&self.columns).chain(&self.rows);
        let width = |column: usize| {
            let widths = lines().map(|line| line[column].chars().count());
            widths.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        for line in lines() {
            let mut text = format!("{:<1$}", line[0], widths[0]);
            for (cell, width) in line.iter().zip(&widths).skip(1) {
                text += &format!("  {cell:>width$}");
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}
