//! Programs of one op over and over, with random weights.

use super::{Case, Kind};
use crate::{
    Result,
    backend::Backend,
    formats::{Format, Rows, WeightInfo},
    gpu::GpuOptions,
    load::Device,
    op::{Act, Metric, Weight},
    program::{Builder, Program},
};
use half::{bf16, f16};

/// Rows of the tables that inputs come from.
const INPUTS: usize = 32;

impl Case {
    /// A backend that holds so many copies of the op.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) and what the GPU fails with.
    pub async fn prepare(&self, device: &Device) -> Result<Run> {
        let (net, program) = self.record();
        let options = GpuOptions {
            fuse: false,
            ..device.options
        };
        let context = self.context();
        let mut backend = device
            .backend(&program, &net.weights, context, options)
            .await?;
        let mut last: Option<(WeightInfo, Rows)> = None;
        for (id, info) in net.weights.iter().enumerate() {
            // Copies are alike: their bytes are made once.
            let rows = match last.take() {
                Some((of, rows)) if of == *info => rows,
                _ => random(info),
            };
            backend.upload(id, &rows)?;
            last = Some((info.clone(), rows));
        }
        backend.settle().await?;
        Ok(Run {
            backend,
            tokens: (0..self.n as u32).map(|i| i % INPUTS as u32).collect(),
            pos: self.pos,
            n_copies: self.copies(),
        })
    }

    pub(super) fn record(&self) -> (Net, Program) {
        let mut net = Net::default();
        let n_copies = self.copies();
        let mut y = None;
        match &self.kind {
            Kind::Linear { format, rows, cols } => {
                let x = net.input(*cols);
                for _ in 0..n_copies {
                    let w = net.weight(*rows, *cols, *format);
                    y = Some(net.builder.linear(x, w, None));
                }
            }
            Kind::Experts {
                format,
                rows,
                cols,
                n_experts,
                router,
            } => {
                let logits = net.input(*n_experts);
                let routing = net.builder.route(logits, None, *router);
                let x = net.input(*cols);
                for _ in 0..n_copies {
                    let w = net.weight(n_experts * rows, *cols, *format);
                    y = Some(net.builder.expert_linear(x, w, routing, *n_experts));
                }
            }
            Kind::Attention {
                heads,
                similarity,
                scale,
            } => {
                let [q, kv] =
                    [heads.n_heads, heads.n_kv_heads].map(|n| net.input(n * heads.head_dim));
                let metric = Metric {
                    similarity: *similarity,
                    ..Metric::dot(*scale)
                };
                for _ in 0..n_copies {
                    let (k, v) = (net.builder.store(kv), net.builder.store(kv));
                    y = Some(net.builder.metric_attention(q, k, v, *heads, metric));
                }
            }
            Kind::RmsNorm { width, eps } => {
                let x = net.input(*width);
                let w = net.weight(1, *width, Format::F32);
                for _ in 0..n_copies {
                    y = Some(net.builder.rms_norm(x, Some(w), *eps));
                }
            }
            Kind::LayerNorm { width, eps } => {
                let x = net.input(*width);
                let w = net.weight(1, *width, Format::F32);
                for _ in 0..n_copies {
                    y = Some(net.builder.layer_norm(x, w, None, *eps));
                }
            }
            Kind::Rope { width, rotary } => {
                let x = net.input(*width);
                for _ in 0..n_copies {
                    y = Some(net.builder.rope(x, rotary));
                }
            }
            Kind::Activate {
                width,
                function,
                gated,
            } => {
                let x = net.input(*width);
                for _ in 0..n_copies {
                    y = Some(net.builder.activate(x, gated.then_some(x), *function));
                }
            }
        }
        let y = y.expect("a case has one copy or more");
        let logits = net.builder.last(y);
        let program = std::mem::take(&mut net.builder).finish(logits);
        (net, program)
    }
}

/// A case that is ready to run.
#[derive(Debug)]
pub struct Run {
    backend: Backend,
    tokens: Vec<u32>,
    pos: usize,
    /// Ops in a step.
    pub n_copies: usize,
}

impl Run {
    /// Runs so many steps, and waits for their end.
    ///
    /// # Errors
    /// When the GPU was lost.
    pub async fn steps(&mut self, times: u32) -> Result<()> {
        for _ in 0..times {
            self.backend.prefill(self.pos, &self.tokens, false)?;
        }
        self.backend.settle().await
    }
}

/// A program in the making, and what its weights are.
#[derive(Debug, Default)]
pub(super) struct Net {
    builder: Builder,
    pub weights: Vec<WeightInfo>,
}

impl Net {
    fn weight(&mut self, rows: usize, cols: usize, format: Format) -> Weight {
        let id = self.weights.len();
        self.weights.push(WeightInfo {
            name: "a random weight".into(),
            format,
            rows,
            cols,
        });
        Weight { id, rows, cols }
    }

    /// An activation `[n, width]`.
    fn input(&mut self, width: usize) -> Act {
        let table = self.weight(INPUTS, width, Format::F32);
        self.builder.embed(table)
    }
}

/// A weight whose numbers lie between −1 and 1.
pub(super) fn random(info: &WeightInfo) -> Rows {
    let WeightInfo {
        format, rows, cols, ..
    } = *info;
    let mut state = 1u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    let n_bytes = rows * format.row_quants_bytes(cols);
    let mut quants = Vec::with_capacity(n_bytes + 4);
    while quants.len() < n_bytes {
        let bits = next();
        let float = bits as f32 / 32_768.0 - 1.0;
        match format {
            Format::F32 => quants.extend(float.to_le_bytes()),
            Format::F16 => quants.extend(f16::from_f32(float).to_le_bytes()),
            Format::Bf16 => quants.extend(bf16::from_f32(float).to_le_bytes()),
            Format::Q8 | Format::Q4 | Format::I4 | Format::B1 => quants.push(bits as u8),
        }
    }
    let scale = f16::from_f32(1.0 / 256.0).to_le_bytes();
    Rows {
        row0: 0,
        n_rows: rows,
        quants,
        scales: scale.repeat(rows * format.row_scales_bytes(cols) / 2),
    }
}
