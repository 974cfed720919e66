//! Single ops in programs of their own, in the sizes that a loaded model has them in.

mod program;

use super::Shape;
use crate::{
    formats::Format,
    op::{Function, Heads, Op, Rotary, Router, Similarity, Weight},
};

/// Tokens at once: a decoded one, and a piece of a prompt.
const TOKENS: [usize; 2] = [1, 32];
/// Bytes that a case reads in one step, so that they come from memory as those of a whole model do.
const READ_BYTES: usize = 64 << 20;
/// Copies of an op in a step, so that the step itself costs little beside them.
const COPIES: usize = 64;

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
}

#[cfg(test)]
mod tests {
    use super::program::random;
    use super::*;
    use crate::bench::shape::tests::shape;
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
