//! The draw: begun where logits are made (shaders/tail/candidates.wgsl), or after, and ended by the sampler.

use super::call::{Call, Kernel, bindings, kernel, read, write};
use super::kernels::{Emitter, WG};
use super::node::Node;
use super::norm::Role;
use super::pace::MOST_STEPS;
use super::plan::{Buf, Part};
use crate::op::{Act, Op, Weight};

/// Logits of a workgroup of shaders/candidates.wgsl.
const PLAIN_BLOCK: usize = 4 * WG;

impl Emitter<'_> {
    /// Whether the matrix that makes `y` begins the draw as well: the head, where it is one matrix.
    pub(super) fn begins_draw(&self, w: Weight, y: Act) -> bool {
        self.target.fuse && y == self.plan.logits && self.plan.pieces[w.id].len() == 1
    }

    /// What the head, in `part`, does besides.
    pub(super) fn candidates_role(&self, part: &Part) -> Role {
        let (wg, lanes) = self.lanes(part);
        Role {
            files: vec!["logit", "tail/candidates"],
            constants: vec![
                ("VOCAB", self.plan.logits.width as f64),
                ("SLOTS", (wg / lanes * lanes.min(4)) as f64),
            ],
            bindings: vec![
                read(6, Buf::Sampling),
                read(7, Buf::Seen),
                write(8, Buf::Blocks),
            ],
        }
    }

    /// The draw, where `last` is the head's last node: sets the token that the next step reads.
    pub(super) fn draw(&self, last: Option<&Node>) -> Vec<Call> {
        if let Some(Node::Plain(Op::Linear {
            w, bias: None, y, ..
        })) = last
            && self.begins_draw(*w, *y)
        {
            let (wg, lanes) = self.lanes(self.part_of(*w));
            return vec![self.sampler(4 * wg / lanes)];
        }
        vec![self.candidates(), self.sampler(PLAIN_BLOCK)]
    }

    fn candidates(&self) -> Call {
        let vocab = self.plan.logits.width;
        let constants = vec![
            ("WG", WG as f64),
            ("VOCAB", vocab as f64),
            ("SLOTS", WG as f64),
        ];
        Call {
            kernel: Kernel {
                files: vec![
                    "step",
                    "reduce/none",
                    "logit",
                    "tail/candidates",
                    "candidates",
                ],
                constants,
            },
            bindings: vec![
                read(1, self.slot(self.plan.logits)),
                read(6, Buf::Sampling),
                read(7, Buf::Seen),
                write(8, Buf::Blocks),
            ],
            groups: vocab.div_ceil(PLAIN_BLOCK) as u32,
            blocks: None,
        }
    }

    /// Over blocks of so many logits.
    fn sampler(&self, block: usize) -> Call {
        let logits = self.plan.logits;
        let constants = vec![
            ("VOCAB", logits.width as f64),
            ("BLOCK", block as f64),
            ("DRAWS", self.plan.chunk as f64),
            ("MOST_STEPS", MOST_STEPS as f64),
        ];
        let writes = [Buf::Keys, Buf::Masses, Buf::Tokens];
        let mut bindings = bindings(&[self.slot(logits)], &writes);
        bindings.extend([
            read(6, Buf::Sampling),
            write(7, Buf::Seen),
            read(8, Buf::Blocks),
        ]);
        Call {
            kernel: kernel(&["step", "logit", "select", "sample"], constants),
            bindings,
            groups: 1,
            blocks: None,
        }
    }
}

/// Bytes of [`Buf::Blocks`]: a block has four logits or more.
pub(super) fn blocks_bytes(vocab: usize) -> u64 {
    12 * vocab.div_ceil(4) as u64
}
