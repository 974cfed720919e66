//! RMSNorm: a dispatch of its own; in decode, begun where its input is made and ended where its output is read
//! (shaders/tail/norm.wgsl, shaders/norm/deferred.wgsl).

use super::call::{Binding, Call, Kernel, kernel, read, write};
use super::kernels::{Emitter, factor_file, format_files, part_bindings, shape};
use super::node::{Node, Norm};
use super::plan::{Buf, Part};
use crate::formats::Format;
use crate::op::{Act, Op, Weight};

/// What the readers of an activation still have to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deferred {
    /// Added to the mean square.
    pub eps: f32,
    /// Workgroups whose shares are to be added up.
    pub groups: usize,
    /// Logits of a router that they have shares of.
    pub n_logits: usize,
}

impl Deferred {
    /// Numbers behind the activation.
    pub fn words(&self) -> usize {
        self.groups * (1 + self.n_logits)
    }
}

/// What a kernel takes on with a role: files, constants and buffers.
#[derive(Default)]
pub(super) struct Role {
    pub files: Vec<&'static str>,
    pub constants: Vec<(&'static str, f64)>,
    pub bindings: Vec<Binding>,
}

impl Emitter<'_> {
    pub(super) fn rms_norm(&self, x: Act, w: Option<Weight>, eps: f32, y: Act) -> Call {
        let (reduce, mut constants) = self.row_reduce();
        constants.extend([("WIDTH", x.width as f64), ("EPS", f64::from(eps))]);
        let mut bindings = vec![read(1, self.slot(x)), write(3, self.slot(y))];
        bindings.extend(w.map(|w| read(2, Buf::Vector(w.id))));
        let files = ["step", reduce, factor_file(w.is_some()), "rms_norm"];
        Call {
            kernel: kernel(&files, constants),
            bindings,
            groups: 1,
            blocks: self.blocks(1),
        }
    }

    /// What a node that begins a norm leaves to others.
    pub(super) fn defer(&self, node: &Node, norm: &Norm) -> Deferred {
        let groups = match node {
            Node::LinearAdd { w, y, .. } => self.row_groups(self.part_of(*w), y.width),
            Node::CombinedExperts { weights, y, .. } => {
                self.row_groups(self.part_of(weights[0]), y.width)
            }
            // One workgroup makes the whole row.
            _ => 1,
        };
        Deferred {
            eps: norm.eps,
            groups: groups as usize,
            n_logits: norm.router.map_or(0, |router| router.rows),
        }
    }

    /// The part that a weight, or a stack that begins with it, lies in.
    pub(super) fn part_of(&self, w: Weight) -> &Part {
        &self.plan.parts[self.plan.pieces[w.id][0].part]
    }

    /// What a matrix of one row does with its input's norm.
    pub(super) fn norm_role(&self, x: Act) -> Role {
        match self.plan.deferred.get(&x.id).filter(|_| self.decode) {
            Some(deferred) => Role {
                files: vec!["norm/deferred"],
                constants: vec![
                    ("EPS", f64::from(deferred.eps)),
                    ("PARTIALS", deferred.groups as f64),
                ],
                bindings: vec![],
            },
            None => Role {
                files: vec!["norm/none"],
                ..Role::default()
            },
        }
    }

    /// What a matrix of one row, in `part`, does besides.
    pub(super) fn tail_role(&self, part: &Part, norm: Option<&Norm>) -> Role {
        let Some(norm) = norm else {
            return Role {
                files: vec!["tail/none"],
                ..Role::default()
            };
        };
        let deferred = self.plan.deferred[&norm.y.id];
        let (wg, lanes) = self.lanes(part);
        let mut role = self.gain_role(norm);
        role.constants.extend([
            ("TAIL_GROUPS", deferred.groups as f64),
            ("SLOTS", (wg / lanes * lanes.min(4)) as f64),
        ]);
        role.files.push("router/none");
        if let Some(router) = norm.router {
            let router = self.plan.pieces[router.id][0].part;
            let file = match self.plan.parts[router].format {
                Format::F32 => "router/f32",
                Format::F16 => "router/f16",
                Format::Bf16 => "router/bf16",
                other => unreachable!("a router of {other:?} is not fused"),
            };
            *role.files.last_mut().expect("it was just put there") = file;
            role.constants.push(("N_LOGITS", deferred.n_logits as f64));
            role.bindings.push(read(8, Buf::Quants(router)));
        }
        role.files.push("tail/norm");
        role
    }

    fn gain_role(&self, norm: &Norm) -> Role {
        let gain = norm.w.map(|w| read(6, Buf::Vector(w.id)));
        Role {
            files: vec![if gain.is_some() {
                "gain/given"
            } else {
                "gain/none"
            }],
            constants: vec![],
            bindings: gain
                .into_iter()
                .chain([write(7, self.slot(norm.y))])
                .collect(),
        }
    }

    /// A node that begins a norm.
    pub(super) fn normed(&self, node: &Node, norm: &Norm) -> Vec<Call> {
        match node {
            Node::LinearAdd { x, w, residual, y } => {
                let residual = Some(self.slot(*residual));
                self.linear(*x, *w, ("epilogue/add", residual), *y, Some(norm))
            }
            Node::CombinedExperts { .. } => vec![self.combined_experts(node, Some(norm))],
            Node::Plain(Op::Embed { w, y }) => vec![self.embed_norm(*w, *y, norm)],
            other => unreachable!("{other:?} begins no norm"),
        }
    }

    fn embed_norm(&self, w: Weight, y: Act, norm: &Norm) -> Call {
        let (index, part) = (self.plan.pieces[w.id][0].part, self.part_of(w));
        let (reduce, mut constants) = self.row_reduce();
        constants.extend(shape(part, part.rows));
        let role = self.gain_role(norm);
        let files = [
            vec!["step", "matrix"],
            format_files(part),
            vec![reduce],
            role.files,
            vec!["fused/embed_norm"],
        ];
        let mut bindings = part_bindings(index, part);
        bindings.extend([read(3, Buf::Tokens), write(4, self.slot(y))]);
        bindings.extend(role.bindings);
        Call {
            kernel: Kernel {
                files: files.concat(),
                constants,
            },
            bindings,
            groups: 1,
            blocks: None,
        }
    }
}
