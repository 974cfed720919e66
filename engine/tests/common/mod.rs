//! Random programs and their weights, and the table of cases that parity and shader tests share.

#![allow(dead_code, reason = "every test binary uses its own part")]

pub mod backends;
pub mod cases;
pub mod metric_cases;
pub mod mixture;

use engine::formats::{Format, Rows, WeightInfo};
use engine::op::{Act, Function, Heads, Pairing, Rotary, Weight};
use engine::program::{Builder, Program};
use half::{bf16, f16};

/// A small generator of random numbers (xorshift32), so that every run sees the same.
#[derive(Debug, Clone)]
pub struct Random(pub u32);

impl Random {
    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    /// In -1 ..= 1.
    pub fn float(&mut self) -> f32 {
        self.next() as f32 / u32::MAX as f32 * 2.0 - 1.0
    }
}

/// A program in the making, with random weights.
#[derive(Debug)]
pub struct Net {
    pub b: Builder,
    pub infos: Vec<WeightInfo>,
    pub data: Vec<Rows>,
    random: Random,
}

/// A program and its weights.
#[derive(Debug)]
pub struct Model {
    pub program: Program,
    pub infos: Vec<WeightInfo>,
    pub data: Vec<Rows>,
}

/// Rows of the embeddings that stand for inputs.
pub const VOCAB: usize = 32;

impl Net {
    pub fn new() -> Self {
        Self {
            b: Builder::new(),
            infos: vec![],
            data: vec![],
            random: Random(0x1234_5678),
        }
    }

    /// A random weight whose products with random inputs stay near 1.
    pub fn weight(&mut self, rows: usize, cols: usize, format: Format) -> Weight {
        let size = 1.0 / (cols as f32).sqrt();
        let n_bytes = rows * format.row_quants_bytes(cols);
        let mut quants = Vec::with_capacity(n_bytes);
        while quants.len() < n_bytes {
            let float = self.random.float() * size;
            match format {
                Format::F32 => quants.extend(float.to_le_bytes()),
                Format::F16 => quants.extend(f16::from_f32(float).to_le_bytes()),
                Format::Bf16 => quants.extend(bf16::from_f32(float).to_le_bytes()),
                _ => quants.push((self.random.next() >> 9) as u8),
            }
        }
        let n_bytes = rows * format.row_scales_bytes(cols);
        let mut scales = Vec::with_capacity(n_bytes);
        while scales.len() < n_bytes {
            let d = (1.5 + self.random.float()) * size;
            let steps = match format {
                Format::Q8 => 127.0,
                Format::B1 => 1.0,
                _ => 8.0,
            };
            scales.extend(f16::from_f32(d / steps).to_le_bytes());
            if format == Format::Q4 {
                scales.extend(f16::from_f32(-d).to_le_bytes());
            }
        }
        self.data.push(Rows {
            row0: 0,
            n_rows: rows,
            quants,
            scales,
        });
        let name = format!("w{}", self.infos.len());
        self.infos.push(WeightInfo {
            name,
            format,
            rows,
            cols,
        });
        Weight {
            id: self.infos.len() - 1,
            rows,
            cols,
        }
    }

    /// A random activation: rows of an embedding.
    pub fn input(&mut self, width: usize) -> Act {
        let w = self.weight(VOCAB, width, Format::F32);
        self.b.embed(w)
    }

    /// Queries, keys and values of `x`, each by a weight of a format, turned and stored, and attention over them.
    pub fn attention(
        &mut self,
        x: Act,
        heads: Heads,
        rotary: &Rotary,
        formats: [Format; 3],
    ) -> Act {
        let Heads {
            n_heads,
            n_kv_heads,
            head_dim,
        } = heads;
        let rows = [n_heads, n_kv_heads, n_kv_heads].map(|heads| heads * head_dim);
        let [q, k, v] = [0, 1, 2].map(|i| {
            let w = self.weight(rows[i], x.width, formats[i]);
            self.b.linear(x, w, None)
        });
        let (q, k) = (self.b.rope(q, rotary), self.b.rope(k, rotary));
        let (k, v) = (self.b.store(k), self.b.store(v));
        let scale = 1.0 / (head_dim as f32).sqrt();
        self.b.attention(q, k, v, heads, scale)
    }

    /// Ends a program of one op: the logits are the last row of `y`.
    pub fn finish_at(mut self, y: Act) -> Model {
        let logits = self.b.last(y);
        self.finish(logits)
    }

    pub fn finish(self, logits: Act) -> Model {
        Model {
            program: self.b.finish(logits),
            infos: self.infos,
            data: self.data,
        }
    }
}

/// Splits rows into uploads of an even number of rows, in an order that is not the file's.
pub fn uploads(rows: &Rows) -> Vec<Rows> {
    let (q, s) = (
        rows.quants.len() / rows.n_rows,
        rows.scales.len() / rows.n_rows,
    );
    let most = (rows.n_rows / 3).next_multiple_of(2).max(2);
    let mut out: Vec<Rows> = (0..rows.n_rows)
        .step_by(most)
        .map(|row0| {
            let n = most.min(rows.n_rows - row0);
            Rows {
                row0,
                n_rows: n,
                quants: rows.quants[row0 * q..][..n * q].to_vec(),
                scales: rows.scales[row0 * s..][..n * s].to_vec(),
            }
        })
        .collect();
    out.reverse();
    out
}

/// The sizes of a random Llama.
#[derive(Debug, Clone, Copy)]
pub struct Llama {
    pub vocab: usize,
    pub d: usize,
    pub layers: usize,
    pub heads: Heads,
    pub pairing: Pairing,
    /// Pairs of a head that turn.
    pub pairs: usize,
    pub hidden: usize,
    pub format: Format,
    pub head_format: Format,
}

pub const TINY: Llama = Llama {
    vocab: 193,
    d: 64,
    layers: 2,
    heads: Heads {
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 16,
    },
    pairing: Pairing::Interleaved,
    pairs: 8,
    hidden: 96,
    format: Format::Q4,
    head_format: Format::Q8,
};

/// SmolLM2-135M's sizes.
pub const SMOLLM2: Llama = Llama {
    vocab: 49_152,
    d: 576,
    layers: 30,
    heads: Heads {
        n_heads: 9,
        n_kv_heads: 3,
        head_dim: 64,
    },
    pairing: Pairing::Interleaved,
    pairs: 32,
    hidden: 1536,
    format: Format::Q4,
    head_format: Format::Q8,
};

/// The usual frequencies.
pub fn rotary(head_dim: usize, pairing: Pairing, pairs: usize) -> Rotary {
    let frequency = |i: usize| 10_000f32.powf(-(2.0 * i as f32) / head_dim as f32);
    Rotary {
        head_dim,
        pairing,
        frequencies: (0..pairs).map(frequency).collect(),
    }
}

impl Llama {
    /// Records the model with a tied head.
    pub fn build(&self) -> Model {
        let mut net = Net::new();
        let Heads {
            n_heads, head_dim, ..
        } = self.heads;
        let rotary = rotary(head_dim, self.pairing, self.pairs);
        let table = net.weight(self.vocab, self.d, self.head_format);
        let mut x = net.b.embed(table);
        for _ in 0..self.layers {
            let norm = net.weight(1, self.d, Format::F32);
            let h = net.b.rms_norm(x, Some(norm), 1e-5);
            let formats = [self.format; 3];
            let h = net.attention(h, self.heads, &rotary, formats);
            let w = net.weight(self.d, n_heads * head_dim, self.format);
            let h = net.b.linear(h, w, None);
            x = net.b.add(x, h);
            let norm = net.weight(1, self.d, Format::F32);
            let h = net.b.rms_norm(x, Some(norm), 1e-5);
            let [gate, up] = [(); 2].map(|()| {
                let w = net.weight(self.hidden, self.d, self.format);
                net.b.linear(h, w, None)
            });
            let h = net.b.activate(gate, Some(up), Function::Silu);
            let w = net.weight(self.d, self.hidden, self.format);
            let h = net.b.linear(h, w, None);
            x = net.b.add(x, h);
        }
        let x = net.b.last(x);
        let norm = net.weight(1, self.d, Format::F32);
        let x = net.b.rms_norm(x, Some(norm), 1e-5);
        let logits = net.b.linear(x, table, None);
        net.finish(logits)
    }
}
