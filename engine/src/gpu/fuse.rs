//! Neighbouring ops that one kernel does better: `Vec<Op>` → `Vec<Node>`, for many tokens and for one.
//!
//! Each fusion is one pattern function. It applies only where every intermediate that disappears has a
//! single reader, inside the pattern. Activations are written once, so an op may move to wherever its
//! inputs exist. Model files and the CPU never see a fused node: CPU (plain) against GPU (fused) is the test.
//!
//! Decode goes on from what is fused for many tokens ([`decode`]): where an input is one row, a matrix and what
//! follows it are one dispatch more often.

mod decode;

use super::node::{Node, Nodes};
use crate::formats::{Format, WeightInfo};
use crate::op::{Act, Cache, Function, Op, Rotary, Weight};
use crate::program::Program;

/// The program as it was recorded.
pub fn plain(program: &Program) -> Nodes {
    let each = |op: &Op| Some(Node::Plain(op.clone()));
    let many: Vec<Option<Node>> = program.ops.iter().map(each).collect();
    Nodes {
        one: many.clone(),
        many,
        head: program.head,
    }
}

/// The program with every pattern applied wherever it fits. `max_bytes` is the largest buffer that a kernel can
/// bind: a stack must lie in one.
pub fn fuse(program: &Program, weights: &[WeightInfo], max_bytes: u64) -> Nodes {
    let mut fuser = Fuser {
        nodes: plain(program).many,
        readers: count_readers(program),
        weight_uses: count_weight_uses(program),
        logits: program.logits,
        n_acts: program.slot_of.len(),
        weights,
        max_bytes,
    };
    for i in 0..program.head {
        let Some(Node::Plain(op)) = fuser.nodes[i].clone() else {
            continue;
        };
        match op {
            Op::Attention { q, k, v, .. } => fuser.attention_input(q, k, v),
            Op::Activate {
                x,
                up: Some(up),
                function,
                y,
            } => fuser.gated(i, (x, up), function, y),
            Op::Add { a, b, y } => fuser.linear_add(i, a, b, y),
            _ => None,
        };
    }
    let many = fuser.nodes.clone();
    fuser.decode();
    Nodes {
        many,
        one: fuser.nodes,
        head: program.head,
    }
}

/// Rows of a weight that one binding of `max_bytes` holds.
pub(super) fn rows_per_binding(info: &WeightInfo, max_bytes: u64) -> usize {
    let row_bytes = info.format.row_quants_bytes(info.cols).max(1);
    (max_bytes as usize / row_bytes / 2 * 2).max(2)
}

struct Fuser<'a> {
    /// By position in the body; `None` where an op went into a fused node.
    nodes: Vec<Option<Node>>,
    /// How many ops of the whole program read each activation.
    readers: Vec<usize>,
    /// How many ops of the whole program use each weight.
    weight_uses: Vec<usize>,
    logits: Act,
    /// First free activation id.
    n_acts: usize,
    weights: &'a [WeightInfo],
    max_bytes: u64,
}

impl Fuser<'_> {
    /// q, k, v by Linears of one input, q and k turned alike, k and v stored: two dispatches instead of seven.
    fn attention_input(&mut self, turned_q: Act, k: Cache, v: Cache) -> Option<()> {
        let (rope_q, q, rotary) = self.rope(turned_q)?;
        let (store_k, turned_k) = self.store(k)?;
        let (rope_k, raw_k, rotary_k) = self.rope(turned_k)?;
        let (store_v, raw_v) = self.store(v)?;
        // Stores may not move past another reader of the caches.
        if rotary != rotary_k || self.n_cache_readers(k, v) != 1 {
            return None;
        }
        let linears = [self.linear(q)?, self.linear(raw_k)?, self.linear(raw_v)?];
        let [(first, x, _), ..] = linears;
        let weights = self.stackable(linears.map(|(_, _, w)| w).to_vec())?;
        if linears.iter().any(|(_, input, _)| *input != x) {
            return None;
        }
        let y = Act {
            id: self.n_acts,
            width: weights.iter().map(|w| w.rows).sum(),
        };
        self.n_acts += 1;
        let gone = [
            rope_q,
            store_k,
            rope_k,
            store_v,
            linears[1].0,
            linears[2].0,
            first,
        ];
        for i in gone {
            self.nodes[i] = None;
        }
        // All inputs of the seven ops are there once the first Linear's and the last removed op's are.
        self.nodes[first] = Some(Node::Stack { x, weights, y });
        self.nodes[rope_q.max(store_k).max(store_v)] = Some(Node::RopeStore {
            x: y,
            rotary,
            q: turned_q,
            k,
            v,
        });
        Some(())
    }

    /// gate and up by Linears of one input, then the activation: one dispatch instead of three.
    fn gated(&mut self, i: usize, from: (Act, Act), function: Function, y: Act) -> Option<()> {
        let (gate_at, x, gate) = self.linear(from.0)?;
        let (up_at, x_up, up) = self.linear(from.1)?;
        if x != x_up || gate_at == up_at {
            return None;
        }
        self.stackable(vec![gate, up])?;
        self.nodes[gate_at] = None;
        self.nodes[up_at] = None;
        self.nodes[i] = Some(Node::Gated {
            x,
            gate,
            up,
            function,
            y,
        });
        Some(())
    }

    /// A Linear whose result is only added to something: one dispatch instead of two.
    fn linear_add(&mut self, i: usize, a: Act, b: Act, y: Act) -> Option<()> {
        let ((at, x, w), residual) = match (self.linear(b), self.linear(a)) {
            (Some(linear), _) => (linear, a),
            (None, Some(linear)) => (linear, b),
            (None, None) => return None,
        };
        if a == b {
            return None;
        }
        self.nodes[at] = None;
        self.nodes[i] = Some(Node::LinearAdd { x, w, residual, y });
        Some(())
    }

    /// The Linear without bias that writes `y` for a single reader: its place, input and weight.
    fn linear(&self, y: Act) -> Option<(usize, Act, Weight)> {
        let i = self.writer(y)?;
        match self.nodes[i] {
            Some(Node::Plain(Op::Linear {
                x, w, bias: None, ..
            })) => Some((i, x, w)),
            _ => None,
        }
    }

    /// The Rope that writes `y` for a single reader: its place, input and rotation.
    fn rope(&self, y: Act) -> Option<(usize, Act, Rotary)> {
        let i = self.writer(y)?;
        match &self.nodes[i] {
            Some(Node::Plain(Op::Rope {
                x,
                rotary,
                phases: None,
                ..
            })) => Some((i, *x, rotary.clone())),
            _ => None,
        }
    }

    /// The only Store into `cache`: its place and input, which nothing else reads.
    fn store(&self, cache: Cache) -> Option<(usize, Act)> {
        let mut found = self
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(i, node)| match node {
                Some(Node::Plain(Op::Store { x, cache: c })) if *c == cache => Some((i, *x)),
                _ => None,
            });
        let (only, None) = (found.next()?, found.next()) else {
            return None;
        };
        (self.readers[only.1.id] == 1).then_some(only)
    }

    /// How many ops read one of these caches.
    fn n_cache_readers(&self, key: Cache, value: Cache) -> usize {
        let caches = [key, value];
        let reads = |node: &&Node| match node {
            Node::Plain(Op::Attention { k, v, .. }) => caches.contains(k) || caches.contains(v),
            Node::Plain(Op::Conv { x, .. }) => caches.contains(x),
            _ => false,
        };
        self.nodes.iter().flatten().filter(reads).count()
    }

    /// Who writes `y`, if `y` has a single reader.
    fn writer(&self, y: Act) -> Option<usize> {
        (self.readers[y.id] == 1).then_some(())?;
        self.maker(y)
    }

    /// Who writes `y`.
    fn maker(&self, y: Act) -> Option<usize> {
        let writes = |node: &Option<Node>| node.as_ref().is_some_and(|n| n.writes().contains(&y));
        self.nodes.iter().position(writes)
    }

    /// The same weights, if they can lie below one another: of one format, or the last of them of B1 below I4,
    /// each used once, each ending on a whole word, all within one binding.
    fn stackable(&self, weights: Vec<Weight>) -> Option<Vec<Weight>> {
        let infos: Vec<&WeightInfo> = weights.iter().map(|w| &self.weights[w.id]).collect();
        let format = infos[0].format;
        let words = |info: &&WeightInfo| {
            (info.rows * info.format.row_quants_bytes(info.cols)).is_multiple_of(4)
                && (info.rows * info.format.row_scales_bytes(info.cols)).is_multiple_of(4)
        };
        let n_bytes = |info: &&WeightInfo| info.rows * info.format.row_quants_bytes(info.cols);
        let fits = infos.iter().map(n_bytes).sum::<usize>() as u64 <= self.max_bytes;
        let n_first = infos
            .iter()
            .take_while(|info| info.format == format)
            .count();
        let rest = &infos[n_first..];
        let alike = rest.is_empty()
            || format == Format::I4 && rest.iter().all(|info| info.format == Format::B1);
        let once = weights.iter().all(|w| self.weight_uses[w.id] == 1);
        (alike && once && fits && infos.iter().all(words)).then_some(weights)
    }
}

fn count_readers(program: &Program) -> Vec<usize> {
    let mut readers = vec![0; program.slot_of.len()];
    for act in program.ops.iter().flat_map(Op::reads) {
        readers[act.id] += 1;
    }
    readers[program.logits.id] += 1;
    readers
}

fn count_weight_uses(program: &Program) -> Vec<usize> {
    let mut uses = Vec::new();
    for op in &program.ops {
        let (matrix, vectors) = op.weights();
        for w in matrix.into_iter().chain(vectors) {
            if uses.len() <= w.id {
                uses.resize(w.id + 1, 0);
            }
            uses[w.id] += 1;
        }
    }
    uses
}
