//! Mixtures of experts: routing, gathering tokens by expert, and the experts' matrices.

use super::call::{Blocks, Call, Kernel, kernel, read, write};
use super::kernels::{Emitter, function_file, part_bindings};
use super::node::{Choice, Node, Norm};
use super::plan::{Buf, Target};
use crate::op::{Act, Router, Score, Weight};

/// Words of the buffer that holds a chunk's tokens grouped by expert: see shaders/experts.wgsl.
pub(super) fn group_words(n_experts: usize, top_k: usize, target: Target) -> usize {
    let blocks = target
        .of_experts(n_experts, top_k)
        .expert_blocks(n_experts, top_k);
    n_experts + 1 + target.chunk * top_k + 2 * blocks.count(target.chunk as u32) as usize
}

impl Target {
    /// Without tiles where a chunk's tokens would leave most of an expert's empty.
    fn of_experts(self, n_experts: usize, top_k: usize) -> Self {
        let is_half_full = self.chunk * top_k >= n_experts * self.block() as usize / 2;
        Self {
            tiles: self.tiles && is_half_full,
            ..self
        }
    }

    fn expert_blocks(self, n_experts: usize, top_k: usize) -> Blocks {
        Blocks {
            per_token: top_k as u32,
            size: self.block(),
            // One expert's tokens fill their blocks, but the grid is the same.
            kinds: n_experts.max(2) as u32,
        }
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
        let (mut files, constants) = choice_files(logits.width, Choice { bias, router });
        files.insert(0, "step");
        files.push("route");
        let mut bindings = vec![read(1, self.slot(logits)), write(3, self.slot(y))];
        bindings.extend(bias.map(|bias| read(6, Buf::Vector(bias.id))));
        let choice = Call {
            kernel: Kernel { files, constants },
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
        let emitter = Emitter {
            target: self.target.of_experts(n_experts, top_k),
            ..*self
        };
        let mut calls = Vec::new();
        for piece in &self.plan.pieces[w.id] {
            let part = &self.plan.parts[piece.part];
            let (mut files, mut constants) = emitter.matrix(part, piece.rows.len());
            constants.extend([
                ("ROW0", piece.rows.start as f64),
                ("AT", piece.at as f64),
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
                let blocks = emitter.target.expert_blocks(n_experts, top_k);
                (self.groups(routing), blocks)
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
                groups: emitter.row_groups(part, width),
                blocks: Some(blocks),
            });
        }
        calls
    }

    /// All of a token's experts up to their activations.
    pub(super) fn gated_experts(&self, node: &Node) -> Call {
        let Node::GatedExperts {
            x,
            weights,
            function,
            n_experts,
            choice,
            routing,
            y,
        } = node
        else {
            unreachable!("{node:?} is no mixture")
        };
        let top_k = routing.width / 2;
        let width = y.width / top_k;
        let index = self.plan.pieces[weights[0].id][0].part;
        let part = &self.plan.parts[index];
        let is_shared = weights.len() == 4;
        let (mut files, mut constants) = self.matrix(part, part.rows);
        constants.extend([
            ("WIDTH", width as f64),
            ("SHARED", f64::from(u8::from(is_shared))),
        ]);
        let mut bindings = part_bindings(index, part);
        bindings.extend([read(3, self.slot(*x)), write(4, self.slot(*y))]);
        let norm = self.norm_role(*x);
        files.extend(norm.files);
        constants.extend(norm.constants);
        match choice {
            Some(choice) => {
                let (choose, how) = choice_files(*n_experts, *choice);
                files.extend(choose);
                files.push("routing/deferred");
                constants.extend(how);
                bindings.push(write(5, self.slot(*routing)));
                bindings.extend(choice.bias.map(|bias| read(6, Buf::Vector(bias.id))));
            }
            None => {
                files.push("routing/given");
                constants.extend([("N_EXPERTS", *n_experts as f64), ("TOP_K", top_k as f64)]);
                bindings.push(read(5, self.slot(*routing)));
            }
        }
        files.extend([function_file(*function), "fused/gated_experts"]);
        Call {
            kernel: Kernel { files, constants },
            bindings,
            groups: self.row_groups(part, 2 * width),
            blocks: Some(Blocks {
                per_token: (top_k + usize::from(is_shared)) as u32,
                ..Blocks::of_tokens(1)
            }),
        }
    }

    /// The rest of them: weighted, added up, and added to what they follow.
    pub(super) fn combined_experts(&self, node: &Node, norm: Option<&Norm>) -> Call {
        let Node::CombinedExperts {
            x,
            weights,
            routing,
            residual,
            y,
        } = node
        else {
            unreachable!("{node:?} is no mixture")
        };
        let index = self.plan.pieces[weights[0].id][0].part;
        let part = &self.plan.parts[index];
        let (mut files, mut constants) = self.matrix(part, part.rows);
        constants.extend([
            ("WIDTH", y.width as f64),
            ("TOP_K", (routing.width / 2) as f64),
            ("SHARED", f64::from(u8::from(weights.len() == 2))),
        ]);
        let mut bindings = part_bindings(index, part);
        bindings.extend([
            read(3, self.slot(*x)),
            write(4, self.slot(*y)),
            read(5, self.slot(*residual)),
            read(8, self.slot(*routing)),
        ]);
        files.push("epilogue/add");
        let tail = self.tail_role(part, norm);
        files.extend(tail.files);
        constants.extend(tail.constants);
        bindings.extend(tail.bindings);
        files.push("fused/combined_experts");
        Call {
            kernel: Kernel { files, constants },
            bindings,
            groups: self.row_groups(part, y.width),
            blocks: None,
        }
    }

    fn group_constants(&self, n_experts: usize, top_k: usize) -> Vec<(&'static str, f64)> {
        let block = self.target.of_experts(n_experts, top_k).block();
        vec![
            ("N_EXPERTS", n_experts as f64),
            ("TOP_K", top_k as f64),
            ("CHUNK", self.target.chunk as f64),
            ("BLOCK", f64::from(block)),
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

/// The files and constants of a choice among `n_experts`.
fn choice_files(
    n_experts: usize,
    Choice { bias, router }: Choice,
) -> (Vec<&'static str>, Vec<(&'static str, f64)>) {
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
        ("N_EXPERTS", n_experts as f64),
        ("TOP_K", router.top_k as f64),
        ("RENORMALISE", f64::from(u8::from(router.renormalise))),
    ];
    (vec![score, biased, "choose"], constants)
}
