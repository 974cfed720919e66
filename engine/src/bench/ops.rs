//! Single ops in programs of their own, in the sizes that a loaded model has them in.

use super::Shape;
use crate::{
    Result,
    backend::Backend,
    formats::{Format, Rows, WeightInfo},
    gpu::GpuOptions,
    load::Device,
    op::{Act, Function, Heads, Metric, Op, Rotary, Router, Similarity, Weight},
    program::{Builder, Program},
};
use half::{bf16, f16};

/// Tokens at once: a decoded one, and a piece of a prompt.
const TOKENS: [usize; 2] = [1, 32];
/// Bytes that a case reads in one step, so that they come from memory as those of a whole model do.
const READ_BYTES: usize = 64 << 20;
/// Copies of an op in a step, so that the step itself costs little beside them.
const COPIES: usize = 64;
/// Rows of the tables that inputs come from.
const INPUTS: usize = 32;

/// An op, how many tokens it is given, and where they stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    kind: Kind,
    /// Tokens.
    pub n: usize,
    /// Position of the first.
    pub pos: usize,
}

/// What is measured. Widths stand where ops have activations, so that equal sizes are equal.
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Linear {
        format: Format,
        rows: usize,
        cols: usize,
    },
    Experts {
        format: Format,
        /// Of one expert.
        rows: usize,
        cols: usize,
        n_experts: usize,
        router: Router,
    },
    Attention {
        heads: Heads,
        similarity: Similarity,
        scale: f32,
    },
    RmsNorm {
        width: usize,
        eps: f32,
    },
    LayerNorm {
        width: usize,
        eps: f32,
    },
    Rope {
        width: usize,
        rotary: Rotary,
    },
    Activate {
        width: usize,
        function: Function,
        gated: bool,
    },
}

/// The cases of a model: its own ops, each size once, and its largest matrix in every other format.
pub fn cases(shape: &Shape, positions: &[usize]) -> Vec<Case> {
    let program = &shape.program;
    let body = program.body().iter().filter_map(|op| kind(op, shape));
    let mut cases: Vec<Case> = Vec::new();
    let mut add = |kind: &Kind, n: usize, pos: usize| {
        let kind = kind.clone();
        let case = Case { kind, n, pos };
        if !cases.contains(&case) {
            cases.push(case);
        }
    };
    for kind in body.chain(formats(shape)) {
        for n in TOKENS {
            match kind {
                Kind::Attention { .. } => positions.iter().for_each(|&pos| add(&kind, n, pos)),
                _ => add(&kind, n, 0),
            }
        }
    }
    // The head only ever sees one token.
    for kind in program.tail().iter().filter_map(|op| kind(op, shape)) {
        add(&kind, 1, 0);
    }
    cases
}

/// The largest matrix of the body in every format.
fn formats(shape: &Shape) -> Vec<Kind> {
    let matrices = shape.program.body().iter().filter_map(|op| match op {
        Op::Linear { w, .. } => Some(w),
        _ => None,
    });
    let Some(&Weight { rows, cols, .. }) = matrices.max_by_key(|w| w.rows * w.cols) else {
        return vec![];
    };
    let formats = Format::ALL.into_iter().filter(|f| f.can_pack(cols));
    formats
        .map(|format| Kind::Linear { format, rows, cols })
        .collect()
}

fn kind(op: &Op, shape: &Shape) -> Option<Kind> {
    let format = |w: &Weight| shape.weights[w.id].format;
    Some(match op {
        Op::Linear { w, .. } => Kind::Linear {
            format: format(w),
            // Of a matrix that is larger than what a case reads, a part tells as much.
            rows: w.rows.min(most(format(w).bytes(1, w.cols))),
            cols: w.cols,
        },
        Op::ExpertLinear {
            w,
            n_experts,
            routing,
            ..
        } => {
            let router = shape.program.ops.iter().find_map(|op| match op {
                Op::Route { router, y, .. } if y == routing => Some(*router),
                _ => None,
            })?;
            let rows = w.rows / n_experts;
            let fit = most(format(w).bytes(rows, w.cols));
            Kind::Experts {
                format: format(w),
                rows,
                cols: w.cols,
                n_experts: (*n_experts).min(fit.max(router.top_k)),
                router,
            }
        }
        Op::Attention { heads, metric, .. } => Kind::Attention {
            heads: *heads,
            similarity: metric.similarity,
            scale: metric.scale,
        },
        Op::RmsNorm { x, eps, .. } => Kind::RmsNorm {
            width: x.width,
            eps: *eps,
        },
        Op::LayerNorm { x, eps, .. } => Kind::LayerNorm {
            width: x.width,
            eps: *eps,
        },
        Op::Rope { x, rotary, .. } => Kind::Rope {
            width: x.width,
            rotary: rotary.clone(),
        },
        Op::Activate {
            x, up, function, ..
        } => Kind::Activate {
            width: x.width,
            function: *function,
            gated: up.is_some(),
        },
        _ => return None,
    })
}

/// How many of so many bytes each a case reads; at least two.
fn most(bytes: usize) -> usize {
    (READ_BYTES / bytes.max(1)).max(2)
}

impl Case {
    /// For the table.
    pub fn name(&self) -> String {
        match &self.kind {
            Kind::Linear { format, rows, cols } => {
                format!("linear {} [{rows}, {cols}]", format.stem())
            }
            Kind::Experts {
                format,
                rows,
                cols,
                n_experts,
                router,
            } => format!(
                "{} of {n_experts} experts {} [{rows}, {cols}]",
                router.top_k,
                format.stem()
            ),
            Kind::Attention {
                heads, similarity, ..
            } => {
                let by = match similarity {
                    Similarity::Dot => "",
                    Similarity::NegSqDist => " by distance",
                    Similarity::Cosine => " by cosine",
                };
                format!("attention{by} at {}, {} heads", self.pos, heads.n_heads)
            }
            Kind::RmsNorm { width, .. } => format!("RMS norm {width}"),
            Kind::LayerNorm { width, .. } => format!("layer norm {width}"),
            Kind::Rope { width, .. } => format!("rope {width}"),
            Kind::Activate {
                width, function, ..
            } => format!("{} {width}", format!("{function:?}").to_lowercase()),
        }
    }

    /// Bytes of weights, or of keys and values, that must be read; none where that depends on the data.
    pub fn bytes(&self) -> Option<u64> {
        let bytes = match &self.kind {
            Kind::Linear { format, rows, cols } => format.bytes(*rows, *cols),
            Kind::Experts {
                format,
                rows,
                cols,
                router,
                ..
            } if self.n == 1 => router.top_k * format.bytes(*rows, *cols),
            Kind::Attention { heads, .. } => {
                let width = heads.n_kv_heads * heads.head_dim;
                2 * size_of::<f32>() * width * (self.pos + self.n)
            }
            _ => return None,
        };
        Some(bytes as u64)
    }

    /// Additions and multiplications, of ops that are little else.
    pub fn flop(&self) -> Option<u64> {
        let n = self.n;
        let products = match &self.kind {
            Kind::Linear { rows, cols, .. } => n * rows * cols,
            Kind::Experts {
                rows, cols, router, ..
            } => n * router.top_k * rows * cols,
            // Query i scores pos + i + 1 keys, and weighs as many values.
            Kind::Attention { heads, .. } => {
                let keys = n * self.pos + n * (n + 1) / 2;
                2 * heads.n_heads * heads.head_dim * keys
            }
            _ => return None,
        };
        Some(2 * products as u64)
    }

    /// Positions that its program must have room for.
    fn context(&self) -> usize {
        self.pos + self.n
    }

    /// A step reads as much as a model's does where reading is what it takes its time for.
    fn copies(&self) -> usize {
        match (&self.kind, self.bytes()) {
            (_, Some(bytes)) if self.n == 1 => {
                (READ_BYTES / bytes.max(1) as usize).clamp(1, COPIES)
            }
            (Kind::RmsNorm { .. } | Kind::LayerNorm { .. }, _) => COPIES,
            (Kind::Rope { .. } | Kind::Activate { .. }, _) => COPIES,
            _ => 2,
        }
    }

    /// A backend that holds so many copies of the op.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) and what the GPU fails with.
    pub async fn prepare(&self, device: &Device) -> Result<Run> {
        let (net, program) = self.record();
        let options = GpuOptions {
            fuse: false,
            ..GpuOptions::default()
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

    fn record(&self) -> (Net, Program) {
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
struct Net {
    builder: Builder,
    weights: Vec<WeightInfo>,
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
fn random(info: &WeightInfo) -> Rows {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tests::shape;
    use std::collections::BTreeSet;

    fn names(cases: &[Case]) -> Vec<(String, usize)> {
        cases.iter().map(|case| (case.name(), case.n)).collect()
    }

    #[test]
    fn every_size_is_a_case_once() {
        let cases = cases(&shape(), &[16]);
        let names = names(&cases);
        let unique: BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len(), "{names:?}");
        for (name, n) in [
            ("RMS norm 64", 1),
            ("RMS norm 64", 32),
            ("linear f32 [4, 64]", 1),
            ("linear b1 [4, 64]", 32),
            ("2 of 4 experts q8 [32, 64]", 32),
            ("linear q4 [100, 32]", 1),
        ] {
            assert!(names.contains(&(name.into(), n)), "{name}, {n}: {names:?}");
        }
        // The head is given one token.
        assert!(!names.contains(&("linear q4 [100, 32]".into(), 32)));
    }

    #[test]
    fn bytes_and_products_are_counted() {
        let case = |kind: Kind, n, pos| Case { kind, n, pos };
        let linear = Kind::Linear {
            format: Format::Q4,
            rows: 10,
            cols: 64,
        };
        let one = case(linear.clone(), 1, 0);
        assert_eq!((one.bytes(), one.flop()), (Some(10 * 40), Some(1280)));
        let many = case(linear, 32, 0);
        assert_eq!(
            (many.bytes(), many.flop()),
            (Some(10 * 40), Some(32 * 1280))
        );
        let heads = Heads {
            n_heads: 4,
            n_kv_heads: 2,
            head_dim: 16,
        };
        let attention = Kind::Attention {
            heads,
            similarity: Similarity::Dot,
            scale: 1.0,
        };
        // 9 and 10 keys of 32 numbers, and as many values; each of the 64 numbers of a query meets a key and a value.
        let two = case(attention, 2, 8);
        assert_eq!(two.bytes(), Some(2 * 4 * 32 * 10));
        assert_eq!(two.flop(), Some(2 * 2 * 64 * (9 + 10)));
    }

    #[test]
    fn every_case_records_a_program_of_its_copies() {
        for case in cases(&shape(), &[16]) {
            let (net, program) = case.record();
            let matrices = program.body().iter().filter(|op| {
                kind(
                    op,
                    &Shape {
                        program: program.clone(),
                        weights: net.weights.clone(),
                    },
                ) == Some(case.kind.clone())
            });
            assert_eq!(matrices.count(), case.copies(), "{}", case.name());
            for info in &net.weights {
                let rows = random(info);
                assert_eq!(
                    rows.quants.len(),
                    info.rows * info.format.row_quants_bytes(info.cols)
                );
                assert_eq!(
                    rows.scales.len(),
                    info.rows * info.format.row_scales_bytes(info.cols)
                );
            }
        }
    }
}
