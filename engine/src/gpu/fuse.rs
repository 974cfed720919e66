//! Neighbouring ops that one kernel does better: `Vec<Op>` → `Vec<Node>`.
//!
//! Each fusion is one pattern function. It applies only where every intermediate that disappears has a
//! single reader, inside the pattern. Activations are written once, so an op may move to wherever its
//! inputs exist. Model files and the CPU never see a fused node: CPU (plain) against GPU (fused) is the test.

use crate::formats::WeightInfo;
use crate::op::{Act, Cache, Function, Op, Rotary, Weight};
use crate::program::Program;

/// An op, or several in one dispatch.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Not fused.
    Plain(Op),
    /// Linears of the same input, their weights stacked by rows: `x[n, cols] → y[n, Σ rows]`.
    Stack {
        /// `[n, cols]`
        x: Act,
        /// `[rows_i, cols]` each, of one format.
        weights: Vec<Weight>,
        /// `[n, Σ rows_i]`
        y: Act,
    },
    /// Queries, keys and values side by side: turn queries into `q`, keys into `k`, copy values into `v`.
    RopeStore {
        /// `[n, q.width + k.width + v.width]`
        x: Act,
        /// For queries and keys.
        rotary: Rotary,
        /// `[n, n_heads · head_dim]`
        q: Act,
        /// `[context, n_kv_heads · head_dim]`
        k: Cache,
        /// `[context, n_kv_heads · head_dim]`
        v: Cache,
    },
    /// `y = f(gate · x) · (up · x)`, the two weights stacked by rows.
    Gated {
        /// `[n, cols]`
        x: Act,
        /// `[hidden, cols]`
        gate: Weight,
        /// `[hidden, cols]`
        up: Weight,
        /// Which function.
        function: Function,
        /// `[n, hidden]`
        y: Act,
    },
    /// `y = x · wᵀ + residual`.
    LinearAdd {
        /// `[n, cols]`
        x: Act,
        /// `[rows, cols]`
        w: Weight,
        /// `[n, rows]`
        residual: Act,
        /// `[n, rows]`
        y: Act,
    },
}

impl Node {
    /// The activations that the node reads.
    pub fn reads(&self) -> Vec<Act> {
        match self {
            Node::Plain(op) => op.reads(),
            Node::Stack { x, .. } | Node::RopeStore { x, .. } | Node::Gated { x, .. } => vec![*x],
            Node::LinearAdd { x, residual, .. } => vec![*x, *residual],
        }
    }

    /// The activation that the node writes.
    pub fn writes(&self) -> Option<Act> {
        match self {
            Node::Plain(op) => op.writes(),
            Node::RopeStore { q, .. } => Some(*q),
            Node::Stack { y, .. } | Node::Gated { y, .. } | Node::LinearAdd { y, .. } => Some(*y),
        }
    }

    /// The weights that must lie below one another in one buffer.
    pub fn stack(&self) -> Vec<Weight> {
        match self {
            Node::Stack { weights, .. } => weights.clone(),
            Node::Gated { gate, up, .. } => vec![*gate, *up],
            _ => vec![],
        }
    }
}

/// The program's body as it was recorded.
pub fn plain(program: &Program) -> Vec<Node> {
    program.body().iter().cloned().map(Node::Plain).collect()
}

/// The program's body with every pattern applied wherever it fits. `max_bytes` is the largest buffer that
/// a kernel can bind: a stack must lie in one.
pub fn fuse(program: &Program, weights: &[WeightInfo], max_bytes: u64) -> Vec<Node> {
    let mut fuser = Fuser {
        nodes: plain(program).into_iter().map(Some).collect(),
        readers: count_readers(program),
        weight_uses: count_weight_uses(program),
        n_acts: program.slot_of.len(),
        weights,
        max_bytes,
    };
    for i in 0..fuser.nodes.len() {
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
    fuser.nodes.into_iter().flatten().collect()
}

struct Fuser<'a> {
    /// By position in the body; `None` where an op went into a fused node.
    nodes: Vec<Option<Node>>,
    /// How many ops of the whole program read each activation.
    readers: Vec<usize>,
    /// How many ops of the whole program use each weight.
    weight_uses: Vec<usize>,
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
        if residual.id == self.output(at)?.id {
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
        (0..self.nodes.len()).find(|&i| self.output(i) == Some(y))
    }

    fn output(&self, i: usize) -> Option<Act> {
        self.nodes[i].as_ref()?.writes()
    }

    /// The same weights, if they can lie below one another: of one format, each used once, each ending on
    /// a whole word, all within one binding.
    fn stackable(&self, weights: Vec<Weight>) -> Option<Vec<Weight>> {
        let infos: Vec<&WeightInfo> = weights.iter().map(|w| &self.weights[w.id]).collect();
        let format = infos[0].format;
        let words = |info: &&WeightInfo| {
            (info.rows * format.row_quants_bytes(info.cols)).is_multiple_of(4)
                && (info.rows * format.row_scales_bytes(info.cols)).is_multiple_of(4)
        };
        let rows: usize = infos.iter().map(|info| info.rows).sum();
        let fits = (rows * format.row_quants_bytes(infos[0].cols)) as u64 <= self.max_bytes;
        let alike = infos.iter().all(|info| info.format == format);
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
