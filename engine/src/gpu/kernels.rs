//! Nodes → calls: which files make the kernel, its constants, its buffers, its grid.

use super::call::{Binding, Blocks, Call, Kernel, bindings, kernel, read, write};
use super::node::{Node, Norm};
use super::plan::{Buf, Part, Plan, Target};
use crate::formats::Format;
use crate::op::{Act, Cache, Function, Op, Weight};

/// Invocations per workgroup where nothing is shared among them.
pub(super) const WG: usize = 64;

/// Weight rows of an invocation in shaders/dot.wgsl, block.wgsl and staged.wgsl.
const ROWS_AT_ONCE: usize = 4;

/// Invocations side by side by rows, and tokens of a workgroup: as shaders/block.wgsl and tile.wgsl have them.
const BLOCK: (usize, u32) = (WG, 8);
const TILE: (usize, u32) = (16, TILE_TOKENS);
pub(super) const TILE_TOKENS: u32 = 32;

impl Target {
    /// Tokens of a workgroup, of many.
    pub(super) fn block(self) -> u32 {
        self.shape().1
    }

    fn shape(self) -> (usize, u32) {
        if self.tiles { TILE } else { BLOCK }
    }
}

/// Turns nodes into calls, for one phase.
pub(super) struct Emitter<'a> {
    pub plan: &'a Plan,
    pub target: Target,
    /// True where only one token is run.
    pub decode: bool,
    /// True where only one row is worked on.
    pub single: bool,
    /// An activation that is another under a second name.
    pub alias: Option<(Act, Act)>,
}

impl<'a> Emitter<'a> {
    /// For the body of decode or of prefill.
    pub fn new(plan: &'a Plan, target: Target, decode: bool) -> Self {
        Emitter {
            plan,
            target,
            decode,
            single: decode,
            alias: None,
        }
    }

    /// The buffer of an activation.
    pub fn slot(&self, act: Act) -> Buf {
        let act = match self.alias {
            Some((name, own)) if name == act => own,
            _ => act,
        };
        Buf::Slot(self.plan.slot_of[act.id].expect("an activation that was fused away"))
    }

    /// The calls of a node; several where a weight is split.
    pub fn emit(&self, node: &Node) -> Vec<Call> {
        match node {
            Node::Plain(op) => self.plain(op),
            Node::Stack { x, weights, y } => {
                self.linear(*x, weights[0], ("epilogue/plain", None), *y, None)
            }
            Node::RopeStore { x, rotary, q, k, v } => {
                vec![self.rope_store(*x, rotary, *q, (*k, *v))]
            }
            Node::Gated {
                x,
                gate,
                function,
                y,
                ..
            } => vec![self.gated(*x, *gate, *function, *y)],
            Node::LinearAdd { x, w, residual, y } => {
                let residual = Some(self.slot(*residual));
                self.linear(*x, *w, ("epilogue/add", residual), *y, None)
            }
            Node::AttentionInput {
                x,
                weights,
                rotary,
                q,
                k,
                v,
            } => vec![self.attention_input(*x, weights, rotary, *q, (*k, *v))],
            Node::GatedExperts { .. } => vec![self.gated_experts(node)],
            Node::CombinedExperts { .. } => vec![self.combined_experts(node, None)],
            Node::Normed { node, norm } => self.normed(node, norm),
        }
    }

    fn plain(&self, op: &Op) -> Vec<Call> {
        match op {
            Op::Embed { w, y } => self.embed(*w, *y),
            Op::RmsNorm { x, w, eps, y } => vec![self.rms_norm(*x, *w, *eps, *y)],
            Op::Linear {
                x,
                w,
                bias: None,
                y,
            } => self.linear(*x, *w, ("epilogue/plain", None), *y, None),
            Op::Linear {
                x,
                w,
                bias: Some(bias),
                y,
            } => {
                let bias = Some(Buf::Vector(bias.id));
                self.linear(*x, *w, ("epilogue/bias", bias), *y, None)
            }
            Op::Rope {
                x,
                rotary,
                phases,
                y,
            } => vec![self.rope(*x, rotary, *phases, *y)],
            Op::LayerNorm { .. }
            | Op::Fourier { .. }
            | Op::Conv { .. }
            | Op::Scale { .. }
            | Op::Gate { .. }
            | Op::PathWeights { .. }
            | Op::Blend { .. } => vec![self.mixing(op)],
            Op::Store { x, cache } => {
                vec![self.store(*x, *cache)]
            }
            Op::Attention {
                q,
                k,
                v,
                heads,
                metric,
                y,
            } => {
                vec![self.attention(*q, (*k, *v), *heads, metric, *y)]
            }
            Op::Activate { x, up, function, y } => {
                let factor = factor_file(up.is_some());
                let files = ["step", function_file(*function), factor, "activate"];
                let mut bindings = vec![read(1, self.slot(*x)), write(3, self.slot(*y))];
                bindings.extend(up.map(|up| read(2, self.slot(up))));
                vec![Call {
                    bindings,
                    ..self.per_column(&files, y.width, &[], self.slot(*y))
                }]
            }
            Op::Route {
                logits,
                bias,
                router,
                y,
            } => self.route(*logits, *bias, *router, *y),
            Op::ExpertLinear {
                x,
                w,
                routing,
                y,
                n_experts,
            } => self.expert_linear(*x, *w, *routing, *y, *n_experts),
            Op::Combine { x, routing, y } => {
                let reads = [self.slot(*x), self.slot(*routing)];
                let mut call =
                    self.per_column(&["step", "combine"], y.width, &reads, self.slot(*y));
                let top_k = routing.width / 2;
                call.kernel.constants.push(("TOP_K", top_k as f64));
                vec![call]
            }
            Op::Add { a, b, y } => {
                let reads = [self.slot(*a), self.slot(*b)];
                vec![self.per_column(&["step", "add"], y.width, &reads, self.slot(*y))]
            }
            Op::Last { x, y } => {
                if self.slot(*x) == self.slot(*y) {
                    return vec![];
                }
                let mut call =
                    self.per_column(&["step", "last"], y.width, &[self.slot(*x)], self.slot(*y));
                call.blocks = None;
                vec![call]
            }
        }
    }

    /// One call for each part of `w`, or of the stack that begins with it. The epilogue is a file and what it
    /// binds.
    pub(super) fn linear(
        &self,
        x: Act,
        w: Weight,
        (epilogue, extra): (&'static str, Option<Buf>),
        y: Act,
        norm: Option<&Norm>,
    ) -> Vec<Call> {
        let mut calls = Vec::new();
        let pieces = &self.plan.pieces[w.id];
        for piece in pieces {
            assert_eq!(piece.at, 0, "a matrix is the first of its stack");
            let part = &self.plan.parts[piece.part];
            let rows = match pieces.len() {
                1 => y.width,
                _ => piece.rows.len(),
            };
            let (mut files, mut constants) = self.matrix(part, rows);
            constants.extend([("ROW0", piece.rows.start as f64), ("WIDTH", y.width as f64)]);
            files.push(epilogue);
            let mut bindings = part_bindings(piece.part, part);
            bindings.extend([read(3, self.slot(x)), write(4, self.slot(y))]);
            bindings.extend(extra.map(|buf| read(5, buf)));
            if self.single {
                let tail = match norm {
                    None if extra.is_none() && self.begins_draw(w, y) => self.candidates_role(part),
                    norm => self.tail_role(part, norm),
                };
                for role in [self.norm_role(x), tail] {
                    files.extend(role.files);
                    constants.extend(role.constants);
                    bindings.extend(role.bindings);
                }
                files.push("matvec");
            } else {
                files.extend(["rows/straight", "matmul"]);
            }
            calls.push(Call {
                kernel: Kernel { files, constants },
                bindings,
                groups: self.row_groups(part, rows),
                blocks: self.blocks(self.target.block()),
            });
        }
        calls
    }

    fn gated(&self, x: Act, gate: Weight, function: Function, y: Act) -> Call {
        let piece = &self.plan.pieces[gate.id][0];
        let part = &self.plan.parts[piece.part];
        let (mut files, mut constants) = self.matrix(part, 2 * y.width);
        constants.push(("WIDTH", y.width as f64));
        files.push(function_file(function));
        if self.single {
            let role = self.norm_role(x);
            files.extend(role.files);
            constants.extend(role.constants);
            files.push("fused/gated_matvec");
        } else {
            files.extend(["rows/straight", "fused/gated_matmul"]);
        }
        let mut bindings = part_bindings(piece.part, part);
        bindings.extend([read(3, self.slot(x)), write(4, self.slot(y))]);
        Call {
            kernel: Kernel { files, constants },
            bindings,
            // Half of an invocation's rows are of the gate.
            groups: self.row_groups(part, 2 * y.width),
            blocks: self.blocks(self.target.block()),
        }
    }

    fn embed(&self, w: Weight, y: Act) -> Vec<Call> {
        let mut calls = Vec::new();
        for piece in &self.plan.pieces[w.id] {
            let part = &self.plan.parts[piece.part];
            let mut constants = shape(part, part.rows);
            constants.extend([("WG", WG as f64), ("ROW0", piece.rows.start as f64)]);
            let mut bindings = part_bindings(piece.part, part);
            bindings.extend([read(3, Buf::Tokens), write(4, self.slot(y))]);
            let files = [vec!["step", "matrix"], format_files(part), vec!["embed"]].concat();
            calls.push(Call {
                kernel: Kernel { files, constants },
                bindings,
                groups: part.cols.div_ceil(8).div_ceil(WG) as u32,
                blocks: self.blocks(1),
            });
        }
        calls
    }

    fn store(&self, x: Act, cache: Cache) -> Call {
        let (reads, to) = ([self.slot(x)], Buf::Cache(cache.id));
        let mut call = if self.plan.halves[cache.id] {
            let constants = vec![("WG", WG as f64), ("WIDTH", x.width as f64)];
            let files = ["step", "place", "kept/halves", "store_halves"];
            let mut call = self.per_element(kernel(&files, constants), x.width / 2, &reads, &[]);
            call.bindings.push(write(6, to));
            call
        } else {
            self.per_column(&["step", "place", "store"], x.width, &reads, to)
        };
        call.kernel.constants.extend(self.place(cache));
        call
    }

    /// Where a cache has what: shaders/place.wgsl.
    pub(super) fn place(&self, cache: Cache) -> [(&'static str, f64); 2] {
        [
            ("CONTEXT", self.plan.context as f64),
            ("TOGETHER", self.plan.head_dims[cache.id] as f64),
        ]
    }

    /// The file and constants of a reduction over a whole workgroup.
    pub(super) fn row_reduce(&self) -> (&'static str, Vec<(&'static str, f64)>) {
        let wg = if self.target.lanes == 1 { WG } else { 2 * WG };
        self.reduce(wg, wg)
    }

    /// A kernel that takes `WIDTH` and gives each column of a row to an invocation.
    pub(super) fn per_column(
        &self,
        files: &[&'static str],
        width: usize,
        reads: &[Buf],
        y: Buf,
    ) -> Call {
        let constants = vec![("WG", WG as f64), ("WIDTH", width as f64)];
        self.per_element(kernel(files, constants), width, reads, &[y])
    }

    pub(super) fn per_element(
        &self,
        kernel: Kernel,
        width: usize,
        reads: &[Buf],
        writes: &[Buf],
    ) -> Call {
        Call {
            kernel,
            bindings: bindings(reads, writes),
            groups: width.div_ceil(WG) as u32,
            blocks: self.blocks(1),
        }
    }

    /// The files and constants that every Linear of `rows` rows shares.
    pub(super) fn matrix(
        &self,
        part: &Part,
        rows: usize,
    ) -> (Vec<&'static str>, Vec<(&'static str, f64)>) {
        let input = if part.cols.is_multiple_of(8) {
            "input/aligned"
        } else {
            "input/ragged"
        };
        let mut files = vec!["step", "matrix", input];
        files.extend(format_files(part));
        let mut constants = shape(part, rows);
        if self.single {
            let (wg, lanes) = self.lanes(part);
            let (reduce, sizes) = self.reduce(wg, lanes);
            files.extend([reduce, "dot"]);
            constants.extend(sizes);
        } else {
            files.extend(["rows/four", "dots"]);
            if self.target.tiles {
                files.extend(["tile", "staged"]);
            } else {
                files.push("block");
            }
            constants.push(("WG", WG as f64));
        }
        (files, constants)
    }

    /// Workgroups that work on `rows` rows.
    pub(super) fn row_groups(&self, part: &Part, rows: usize) -> u32 {
        let side_by_side = if self.single {
            let (wg, lanes) = self.lanes(part);
            wg / lanes
        } else {
            self.target.shape().0
        };
        rows.div_ceil(ROWS_AT_ONCE * side_by_side) as u32
    }

    /// Workgroup size and invocations to a few rows: no more than there are groups of 32 weights.
    pub(super) fn lanes(&self, part: &Part) -> (usize, usize) {
        let most = part.cols.div_ceil(32).next_power_of_two();
        (WG, (self.target.lanes as usize).min(most))
    }

    pub(super) fn reduce(
        &self,
        wg: usize,
        lanes: usize,
    ) -> (&'static str, Vec<(&'static str, f64)>) {
        let mut constants = vec![("WG", wg as f64), ("LANES", lanes as f64)];
        let file = match (lanes, self.target.subgroup) {
            (1, _) => "reduce/none",
            (_, None) => "reduce/shared",
            (_, Some(size)) => {
                constants.push(("SUBGROUP", f64::from(size)));
                "reduce/subgroup"
            }
        };
        (file, constants)
    }

    pub(super) fn blocks(&self, tokens: u32) -> Option<Blocks> {
        (!self.single).then_some(Blocks::of_tokens(tokens))
    }
}

pub(super) fn part_bindings(index: usize, part: &Part) -> Vec<Binding> {
    let mut bindings = vec![read(1, Buf::Quants(index))];
    if part.format.row_scales_bytes(part.cols) > 0 {
        bindings.push(read(2, Buf::Scales(index)));
    }
    bindings
}

pub(super) fn shape(part: &Part, rows: usize) -> Vec<(&'static str, f64)> {
    let mut constants = vec![("ROWS", rows as f64), ("COLS", part.cols as f64)];
    if part.b1_rows > 0 {
        constants.push(("SPLIT", (part.rows - part.b1_rows) as f64));
    }
    constants
}

pub(super) fn format_files(part: &Part) -> Vec<&'static str> {
    match part.format {
        Format::I4 if part.b1_rows > 0 => vec!["formats/i4_b1"],
        Format::F32 => vec!["formats/f32"],
        Format::F16 => vec!["formats/halves", "formats/f16"],
        Format::Bf16 => vec!["formats/halves", "formats/bf16"],
        Format::Q8 => vec!["formats/q8"],
        Format::Q4 => vec!["formats/q4"],
        Format::I4 => vec!["formats/i4"],
        Format::B1 => vec!["formats/b1"],
    }
}

pub(super) fn factor_file(is_given: bool) -> &'static str {
    if is_given {
        "factor/given"
    } else {
        "factor/none"
    }
}

pub(super) fn function_file(function: Function) -> &'static str {
    match function {
        Function::Silu => "functions/silu",
        Function::Gelu => "functions/gelu",
        Function::GeluErf => "functions/gelu_erf",
        Function::Relu => "functions/relu",
        Function::ReluSquared => "functions/relu_squared",
        Function::Sigmoid => "functions/sigmoid",
    }
}
