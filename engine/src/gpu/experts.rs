//! Mixtures of experts: routing, gathering tokens by expert, and the experts' matrices.

use super::call::{Blocks, Call, Kernel, kernel, read, write};
use super::kernels::{Emitter, part_bindings};
use super::plan::Buf;
use crate::op::{Act, Router, Score, Weight};

/// Tokens of one expert that share an unpacked weight.
const BLOCK: u32 = 8;

/// Words of the buffer that holds a chunk's tokens grouped by expert: see shaders/experts.wgsl.
pub(super) fn group_words(n_experts: usize, top_k: usize, chunk: usize) -> usize {
    let blocks = expert_blocks(n_experts, top_k).count(chunk as u32) as usize;
    n_experts + 1 + chunk * top_k + 2 * blocks
}

fn expert_blocks(n_experts: usize, top_k: usize) -> Blocks {
    Blocks {
        per_token: top_k as u32,
        size: BLOCK,
        // One expert's tokens fill their blocks, but the grid is the same.
        kinds: n_experts.max(2) as u32,
    }
}

impl Emitter<'_> {
    /// The choice; for many tokens also their grouping by expert.
    pub(super) fn route(
        &self,
        logits: Act,
        bias: Option<Weight>,
        router: Router,
        y: Act,
    ) -> Vec<Call> {
        let score = match router.score {
            Score::Softmax => "scores/softmax",
            Score::Sigmoid => "scores/sigmoid",
        };
        let biased = if bias.is_some() {
            "scores/biased"
        } else {
            "scores/unbiased"
        };
        let constants = vec![
            ("N_EXPERTS", logits.width as f64),
            ("TOP_K", router.top_k as f64),
            ("RENORMALISE", f64::from(u8::from(router.renormalise))),
        ];
        let mut bindings = vec![read(1, self.slot(logits)), write(3, self.slot(y))];
        bindings.extend(bias.map(|bias| read(2, Buf::Vector(bias.id))));
        let choice = Call {
            kernel: kernel(&["step", score, biased, "route"], constants),
            bindings,
            groups: 1,
            blocks: self.blocks(1),
        };
        if self.single {
            return vec![choice];
        }
        let mut constants = self.group_constants(logits.width, router.top_k);
        constants.push(("WG", 64.0));
        let gather = Call {
            kernel: kernel(&["step", "experts", "gather"], constants),
            bindings: vec![read(1, self.slot(y)), write(2, self.groups(y))],
            groups: 1,
            blocks: None,
        };
        vec![choice, gather]
    }

    /// One call for each part of `w`.
    pub(super) fn expert_linear(
        &self,
        x: Act,
        w: Weight,
        routing: Act,
        y: Act,
        n_experts: usize,
    ) -> Vec<Call> {
        let top_k = routing.width / 2;
        let width = w.rows / n_experts;
        let mut calls = Vec::new();
        for piece in &self.plan.pieces[w.id] {
            let part = &self.plan.parts[piece.part];
            let (mut files, mut constants) = self.matrix(part);
            constants.extend([
                ("ROW0", piece.rows.start as f64),
                ("WIDTH", width as f64),
                ("OWN_INPUT", f64::from(u8::from(x.width != w.cols))),
            ]);
            let (grouping, blocks) = if self.single {
                files.push("expert_matvec");
                let blocks = Blocks {
                    per_token: top_k as u32,
                    ..Blocks::of_tokens(1)
                };
                (self.slot(routing), blocks)
            } else {
                files.extend(["experts", "expert_matmul"]);
                constants.extend(self.group_constants(n_experts, top_k));
                (self.groups(routing), expert_blocks(n_experts, top_k))
            };
            let mut bindings = part_bindings(piece.part, part);
            bindings.extend([
                read(3, self.slot(x)),
                write(4, self.slot(y)),
                read(5, grouping),
            ]);
            calls.push(Call {
                kernel: Kernel { files, constants },
                bindings,
                groups: self.row_groups(part, width),
                blocks: Some(blocks),
            });
        }
        calls
    }

    fn group_constants(&self, n_experts: usize, top_k: usize) -> Vec<(&'static str, f64)> {
        vec![
            ("N_EXPERTS", n_experts as f64),
            ("TOP_K", top_k as f64),
            ("CHUNK", self.target.chunk as f64),
        ]
    }

    /// The grouping that goes with a routing.
    fn groups(&self, routing: Act) -> Buf {
        let Buf::Slot(slot) = self.slot(routing) else {
            unreachable!("activations lie in slots")
        };
        Buf::Groups(slot)
    }
}
