//! What the GPU is to do, worked out without one: buffers, their sizes, and the calls of each phase.

use std::collections::BTreeMap;
use std::ops::Range;

use super::attention::shared_words;
use super::call::Call;
use super::experts::group_words;
use super::fuse::{self, rows_per_binding};
use super::kernels::Emitter;
use super::node::{Node, Nodes};
use super::norm::Deferred;
use crate::formats::{Format, WeightInfo};
use crate::op::{Act, Op};
use crate::program::{Program, Slot};

/// What the device is like, as far as kernels care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Invocations that share a weight row in decode; a power of two, 1 on software adapters.
    pub lanes: u32,
    /// Smallest subgroup size, where subgroups are to be used.
    pub subgroup: Option<u32>,
    /// Largest buffer that a kernel can bind, in bytes.
    pub max_binding_bytes: u64,
    /// Tokens per prefill call.
    pub chunk: usize,
    /// Whether matrices multiply many tokens through tiles in workgroup memory.
    pub tiles: bool,
    /// Whether caches keep f16 where they may.
    pub halves: bool,
    /// Whether neighbouring ops are fused.
    pub fuse: bool,
}

/// A buffer of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Buf {
    /// `Step` for each step of a submit; the only uniform.
    Step,
    /// `[chunk]` token ids, then `[MOST_STEPS]` draws: that of a step that ends with position p is the p-th, modulo
    /// their number, and the first id as well.
    Tokens,
    /// Activations that are never alive at the same time.
    Slot(usize),
    /// A chunk's tokens grouped by expert, for the routing that lies in this slot.
    Groups(usize),
    /// `[heads, context, head_dim]`: see [`Plan::head_dims`].
    Cache(usize),
    /// Numbers of a [`Part`].
    Quants(usize),
    /// Scales of a [`Part`].
    Scales(usize),
    /// A norm weight or bias as f32, by weight id.
    Vector(usize),
    /// Cosines and sines, `[context, frequencies]`.
    Turns(usize),
    /// What workgroups that share an attention head leave for one another.
    SharedSums,
    /// `Sampling`.
    Sampling,
    /// `[vocab]` bits.
    Seen,
    /// The best and the weight of each block of logits: shaders/logit.wgsl.
    Blocks,
    /// `[vocab]` sort keys of the logits.
    Keys,
    /// `[vocab]` fixed-point probabilities.
    Masses,
}

/// A bound piece of a weight, or several weights stacked by rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The weight's name.
    pub label: String,
    /// How its rows are packed, but for the last.
    pub format: Format,
    /// Rows in this part.
    pub rows: usize,
    /// How many of them, the last, are B1 below I4.
    pub b1_rows: usize,
    /// Columns.
    pub cols: usize,
}

impl Part {
    /// Bytes of quants before a row.
    pub fn quants_at(&self, row: usize) -> usize {
        let n_b1 = row.saturating_sub(self.rows - self.b1_rows);
        (row - n_b1) * self.format.row_quants_bytes(self.cols)
            + n_b1 * Format::B1.row_quants_bytes(self.cols)
    }

    /// Bytes of scales before a row; I4 and B1 have the same.
    pub fn scales_at(&self, row: usize) -> usize {
        row * self.format.row_scales_bytes(self.cols)
    }
}

/// Where some rows of a weight go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Rows of the weight.
    pub rows: Range<usize>,
    /// Index into [`Plan::parts`].
    pub part: usize,
    /// Row of the part that the first of them becomes.
    pub at: usize,
}

/// The calls of one phase.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Phase {
    /// All tokens through all layers.
    pub body: Vec<Call>,
    /// The last token to logits, and the draw.
    pub head: Vec<Call>,
}

/// A program compiled for a [`Target`].
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// One token.
    pub decode: Phase,
    /// Up to `chunk` tokens.
    pub prefill: Phase,
    /// Bytes of every slot.
    pub slot_bytes: Vec<u64>,
    /// By slot, bytes of the grouping of the routings that ever lie in it.
    pub group_bytes: BTreeMap<usize, u64>,
    /// By cache: columns of a head, of which those of all positions lie together. A whole row where nothing attends.
    pub head_dims: Vec<usize>,
    /// By cache: whether it keeps f16.
    pub halves: Vec<bool>,
    /// Bytes of every cache.
    pub cache_bytes: Vec<u64>,
    /// Bytes of [`Buf::SharedSums`].
    pub shared_bytes: u64,
    /// The slot of every activation, fused ones after the program's; `None` where fusion removed it.
    pub slot_of: Vec<Option<usize>>,
    /// Weight buffers.
    pub parts: Vec<Part>,
    /// By weight id: where its rows go; empty for vectors.
    pub pieces: Vec<Vec<Piece>>,
    /// By weight id: whether it is a norm weight or a bias.
    pub is_vector: Vec<bool>,
    /// By activation: what decode leaves to its readers.
    pub deferred: BTreeMap<usize, Deferred>,
    /// Radians per position of each distinct table of cosines and sines.
    pub frequencies: Vec<Vec<f32>>,
    /// `[1, vocab]`
    pub logits: Act,
    /// Positions in the context.
    pub context: usize,
    /// Tokens per prefill call.
    pub chunk: usize,
}

impl Plan {
    /// Compiles `program`; `weights[id]` describes weight `id`.
    pub fn new(program: &Program, weights: &[WeightInfo], context: usize, target: Target) -> Plan {
        let nodes = if target.fuse {
            fuse::fuse(program, weights, target.max_binding_bytes)
        } else {
            fuse::plain(program)
        };
        let (slot_of, slots) = assign_slots(&nodes, program);
        let is_vector = vectors(program, weights.len());
        let (parts, pieces) = place_weights(&nodes, weights, &is_vector, target.max_binding_bytes);
        let halves = match target.halves {
            true => program
                .roles(|_| true)
                .iter()
                .map(Option::is_some)
                .collect(),
            false => vec![false; program.cache_widths.len()],
        };
        let mut plan = Plan {
            decode: Phase::default(),
            prefill: Phase::default(),
            slot_bytes: slots
                .iter()
                .map(|slot| {
                    let rows = if slot.single_row { 1 } else { target.chunk };
                    // Kernels may read whole units of 8 columns.
                    (rows * slot.width).next_multiple_of(4) as u64 * 4
                })
                .collect(),
            cache_bytes: program
                .cache_widths
                .iter()
                .zip(&halves)
                .map(|(width, half)| {
                    let bytes = if *half { 2 } else { 4 };
                    (context * width).next_multiple_of(4) as u64 * bytes
                })
                .collect(),
            head_dims: head_dims(program),
            halves,
            shared_bytes: shared_bytes(program, context, target),
            group_bytes: group_bytes(program, &slot_of, target),
            slot_of,
            parts,
            pieces,
            is_vector,
            deferred: BTreeMap::new(),
            frequencies: frequencies(program),
            logits: program.logits,
            context,
            chunk: target.chunk,
        };
        for node in nodes.one.iter().flatten() {
            plan.widen(node, target);
        }
        plan.decode = plan.phase(&nodes, target, true);
        plan.prefill = plan.phase(&nodes, target, false);
        plan
    }

    /// Makes room for what decode writes behind an activation.
    fn widen(&mut self, node: &Node, target: Target) {
        let emitter = Emitter::new(self, target, true);
        let (act, words) = match node {
            Node::Normed { node, norm } => {
                let deferred = emitter.defer(node, norm);
                let words = norm.y.width + deferred.words();
                self.deferred.insert(norm.y.id, deferred);
                (norm.y, words)
            }
            Node::GatedExperts { y, routing, .. } => {
                let hidden = y.width / (routing.width / 2);
                (*y, y.width + hidden)
            }
            _ => return,
        };
        let slot = self.slot_of[act.id].expect("a node's output has a slot");
        self.slot_bytes[slot] = self.slot_bytes[slot].max(words.next_multiple_of(4) as u64 * 4);
    }

    /// Bytes of weights, caches and activations.
    pub fn bytes(&self) -> u64 {
        let part = |part: &Part| (part.quants_at(part.rows) + part.scales_at(part.rows)) as u64;
        let weights: u64 = self.parts.iter().map(part).sum();
        let activations = self.slot_bytes.iter().chain(self.group_bytes.values());
        weights + activations.chain(&self.cache_bytes).sum::<u64>()
    }

    fn phase(&self, nodes: &Nodes, target: Target, decode: bool) -> Phase {
        let list = if decode { &nodes.one } else { &nodes.many };
        let (body, head) = list.split_at(nodes.head);
        let mut emitter = Emitter::new(self, target, decode);
        let body = body.iter().flatten();
        let body = body.flat_map(|node| emitter.emit(node)).collect();
        emitter.single = true;
        if let (true, Some(Some(Node::Plain(Op::Last { x, y })))) = (decode, head.first())
            && *y != self.logits
        {
            // The only row is the last one: the head reads it where it lies.
            emitter.alias = Some((*y, *x));
        }
        let head = head.iter().flatten();
        let mut head: Vec<Call> = head.flat_map(|node| emitter.emit(node)).collect();
        head.extend(emitter.draw(list.last().and_then(Option::as_ref)));
        Phase { body, head }
    }
}

/// Gives activations slots such that two that are alive at the same time never share one: each lives from
/// the node that writes it through the last that reads it, for one token and for many. What first appears in the
/// head never shares with the body.
fn assign_slots(nodes: &Nodes, program: &Program) -> (Vec<Option<usize>>, Vec<Slot>) {
    let writes = |i: usize| nodes.at(i).flat_map(Node::writes);
    let acts = |i: usize| nodes.at(i).flat_map(Node::reads).chain(writes(i));
    let places = 0..nodes.one.len();
    let n_acts = places.clone().flat_map(acts).map(|act| act.id + 1).max();
    let mut last_use = vec![0; n_acts.unwrap_or(0).max(program.slot_of.len())];
    for i in places.clone() {
        for act in acts(i) {
            last_use[act.id] = i;
        }
    }
    last_use[program.logits.id] = usize::MAX;
    // Where decode skips `Last`, the head reads the body's last activation itself.
    if let Some(Op::Last { x, y }) = program.tail().first() {
        last_use[x.id] = last_use[x.id].max(last_use[y.id]);
    }

    let mut slot_of = vec![None; last_use.len()];
    let mut slots: Vec<Slot> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    for i in places {
        for y in writes(i) {
            if slot_of[y.id].is_some() {
                continue;
            }
            let single_row = i >= nodes.head;
            let best = (0..free.len())
                .filter(|&at| slots[free[at]].single_row == single_row)
                .min_by_key(|&at| slots[free[at]].width.abs_diff(y.width));
            let slot = best.map(|at| free.swap_remove(at)).unwrap_or_else(|| {
                slots.push(Slot {
                    width: 0,
                    single_row,
                });
                slots.len() - 1
            });
            slots[slot].width = slots[slot].width.max(y.width);
            slot_of[y.id] = Some(slot);
        }
        for act in acts(i) {
            let slot = slot_of[act.id].expect("an activation is read before it is written");
            if last_use[act.id] == i && !free.contains(&slot) {
                free.push(slot);
            }
        }
    }
    (slot_of, slots)
}

/// Stacks what fused nodes want stacked, and splits what is larger than a binding, on even rows.
fn place_weights(
    nodes: &Nodes,
    weights: &[WeightInfo],
    is_vector: &[bool],
    max_bytes: u64,
) -> (Vec<Part>, Vec<Vec<Piece>>) {
    let mut parts: Vec<Part> = Vec::new();
    let mut pieces: Vec<Vec<Piece>> = vec![Vec::new(); weights.len()];
    // A stack for many tokens may be the upper part of one for one token.
    for node in nodes.one.iter().chain(&nodes.many).flatten() {
        let stack = node.stack();
        let Some(first) = stack.first().filter(|w| pieces[w.id].is_empty()) else {
            continue;
        };
        let WeightInfo {
            name, format, cols, ..
        } = &weights[first.id];
        let (mut rows, mut b1_rows) = (0, 0);
        for w in &stack {
            pieces[w.id].push(Piece {
                rows: 0..w.rows,
                part: parts.len(),
                at: rows,
            });
            rows += w.rows;
            if weights[w.id].format != *format {
                b1_rows += w.rows;
            }
        }
        parts.push(Part {
            label: format!("{name} and what it is stacked with"),
            format: *format,
            rows,
            b1_rows,
            cols: *cols,
        });
    }
    for ((info, pieces), is_vector) in weights.iter().zip(&mut pieces).zip(is_vector) {
        if *is_vector || !pieces.is_empty() {
            continue;
        }
        let most = rows_per_binding(info, max_bytes);
        for row0 in (0..info.rows).step_by(most) {
            let rows = row0..info.rows.min(row0 + most);
            pieces.push(Piece {
                rows: rows.clone(),
                part: parts.len(),
                at: 0,
            });
            parts.push(Part {
                label: info.name.clone(),
                format: info.format,
                rows: rows.len(),
                b1_rows: 0,
                cols: info.cols,
            });
        }
    }
    (parts, pieces)
}

fn vectors(program: &Program, n_weights: usize) -> Vec<bool> {
    let mut vectors = vec![false; n_weights];
    for op in &program.ops {
        for w in op.weights().1 {
            vectors[w.id] = true;
        }
    }
    for op in &program.ops {
        if let (Some(w), _) = op.weights() {
            assert!(!vectors[w.id], "weight {} is a matrix and a vector", w.id);
        }
    }
    vectors
}

fn group_bytes(
    program: &Program,
    slot_of: &[Option<usize>],
    target: Target,
) -> BTreeMap<usize, u64> {
    let mut bytes = BTreeMap::new();
    for op in &program.ops {
        if let Op::Route {
            logits, router, y, ..
        } = op
        {
            let slot = slot_of[y.id].expect("routings are never fused away");
            let words = group_words(logits.width, router.top_k, target);
            let largest: &mut u64 = bytes.entry(slot).or_default();
            *largest = (*largest).max(4 * words as u64);
        }
    }
    bytes
}

fn head_dims(program: &Program) -> Vec<usize> {
    let mut dims = vec![None; program.cache_widths.len()];
    for op in &program.ops {
        if let Op::Attention { k, v, heads, .. } = op {
            for cache in [k, v] {
                let dim = *dims[cache.id].get_or_insert(heads.head_dim);
                assert_eq!(dim, heads.head_dim, "two widths of the heads of a cache");
            }
        }
    }
    let rows = program.cache_widths.iter();
    dims.iter()
        .zip(rows)
        .map(|(dim, row)| dim.unwrap_or(*row))
        .collect()
}

fn shared_bytes(program: &Program, context: usize, target: Target) -> u64 {
    let words = |op: &Op| match op {
        Op::Attention { heads, .. } => shared_words(*heads, context, target),
        _ => 0,
    };
    4 * program.ops.iter().map(words).max().unwrap_or(0) as u64
}

fn frequencies(program: &Program) -> Vec<Vec<f32>> {
    let mut found: Vec<Vec<f32>> = Vec::new();
    for op in &program.ops {
        let frequencies = match op {
            Op::Rope { rotary, .. } => &rotary.frequencies,
            Op::Fourier { frequencies, .. } => frequencies,
            _ => continue,
        };
        if !found.contains(frequencies) {
            found.push(frequencies.clone());
        }
    }
    found
}
