//! Ops of metric models and mixtures of paths.

use super::call::{Call, kernel, read, write};
use super::kernels::Emitter;
use super::plan::Buf;
use crate::op::{Act, Op, Weight};

impl Emitter<'_> {
    /// LayerNorm, Fourier, Conv, Scale, Gate, PathWeights and Blend.
    pub(super) fn mixing(&self, op: &Op) -> Call {
        match *op {
            Op::LayerNorm { x, w, bias, eps, y } => self.layer_norm(x, (w, bias), eps, y),
            Op::Fourier { ref frequencies, y } => {
                let reads = [self.turns(frequencies)];
                self.per_column(&["step", "fourier"], y.width, &reads, self.slot(y))
            }
            Op::Conv { x, w, bias, y } => {
                let files = ["step", addend_file(bias.is_some()), "place", "conv"];
                let reads = [Buf::Cache(x.id), Buf::Vector(w.id)];
                let mut call = self.per_column(&files, y.width, &reads, self.slot(y));
                let taps = w.cols / x.width;
                call.kernel.constants.push(("TAPS", taps as f64));
                call.kernel.constants.extend(self.place(x));
                call.bindings
                    .extend(bias.map(|bias| read(4, Buf::Vector(bias.id))));
                call
            }
            Op::Scale { x, factors, y } => {
                let reads = [self.slot(x), Buf::Vector(factors.w.id)];
                let files = ["step", "map", "scale"];
                let mut call = self.per_column(&files, y.width, &reads, self.slot(y));
                call.kernel.constants.extend([
                    ("N_FACTORS", factors.w.cols as f64),
                    ("MAP", f64::from(factors.map as u32)),
                ]);
                call
            }
            Op::Gate {
                x,
                gates,
                range: (low, high),
                y,
            } => {
                let reads = [self.slot(x), self.slot(gates)];
                let files = ["step", "functions/sigmoid", "gate"];
                let mut call = self.per_column(&files, y.width, &reads, self.slot(y));
                call.kernel.constants.extend([
                    ("N_GATES", gates.width as f64),
                    ("LOW", f64::from(low)),
                    ("HIGH", f64::from(high)),
                ]);
                call
            }
            Op::PathWeights {
                logits,
                bias,
                temperature,
                top_k,
                y,
            } => self.path_weights(logits, bias, (temperature, top_k), y),
            Op::Blend {
                sum,
                x,
                weights,
                path,
                y,
            } => {
                let files = ["step", addend_file(sum.is_some()), "blend"];
                let reads = [self.slot(x), self.slot(weights)];
                let mut call = self.per_column(&files, y.width, &reads, self.slot(y));
                call.kernel
                    .constants
                    .extend([("PATH", path as f64), ("N_PATHS", weights.width as f64)]);
                call.bindings.extend(sum.map(|sum| read(4, self.slot(sum))));
                call
            }
            _ => unreachable!("{op:?} is emitted elsewhere"),
        }
    }

    fn layer_norm(&self, x: Act, (w, bias): (Weight, Option<Weight>), eps: f32, y: Act) -> Call {
        let (reduce, mut constants) = self.row_reduce();
        constants.extend([("WIDTH", x.width as f64), ("EPS", f64::from(eps))]);
        let addend = addend_file(bias.is_some());
        let mut bindings = vec![
            read(1, self.slot(x)),
            read(2, Buf::Vector(w.id)),
            write(3, self.slot(y)),
        ];
        bindings.extend(bias.map(|bias| read(4, Buf::Vector(bias.id))));
        Call {
            kernel: kernel(
                &["step", reduce, "factor/given", addend, "layer_norm"],
                constants,
            ),
            bindings,
            groups: 1,
            blocks: self.blocks(1),
        }
    }

    fn path_weights(
        &self,
        logits: Act,
        bias: Option<Weight>,
        (temperature, top_k): (f32, usize),
        y: Act,
    ) -> Call {
        let biased = if bias.is_some() {
            "scores/biased"
        } else {
            "scores/unbiased"
        };
        let constants = vec![
            ("N_PATHS", logits.width as f64),
            ("TOP_K", top_k as f64),
            ("TEMPERATURE", f64::from(temperature)),
        ];
        let mut bindings = vec![read(1, self.slot(logits)), write(3, self.slot(y))];
        bindings.extend(bias.map(|bias| read(6, Buf::Vector(bias.id))));
        Call {
            kernel: kernel(&["step", biased, "path_weights"], constants),
            bindings,
            groups: 1,
            blocks: self.blocks(1),
        }
    }
}

fn addend_file(is_given: bool) -> &'static str {
    if is_given {
        "addend/given"
    } else {
        "addend/none"
    }
}
