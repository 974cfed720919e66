//! What fusion makes of ops, for many tokens and for one.

use crate::op::{Act, Cache, Function, Op, Rotary, Router, Weight};

/// An op, or several in one dispatch.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Not fused.
    Plain(Op),
    /// Linears of the same input, their weights stacked by rows: `x[n, cols] → y[n, Σ rows]`.
    Stack {
        /// `[n, cols]`
        x: Act,
        /// `[rows_i, cols]` each, of one format or the last of B1 below I4.
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
    /// `Stack` and `RopeStore`, of one token.
    AttentionInput {
        /// `[1, cols]`
        x: Act,
        /// `[q.width, cols]`, `[k.width, cols]`, `[v.width, cols]`
        weights: Vec<Weight>,
        /// For queries and keys.
        rotary: Rotary,
        /// `[1, n_heads · head_dim]`
        q: Act,
        /// `[context, n_kv_heads · head_dim]`
        k: Cache,
        /// `[context, n_kv_heads · head_dim]`
        v: Cache,
    },
    /// `y[i] = f(gate_i · x) · (up_i · x)` of one token's experts, and of a shared one.
    GatedExperts {
        /// `[1, cols]`
        x: Act,
        /// The shared expert's gate and up, `[hidden, cols]` each, or nothing; all experts' gates and ups,
        /// `[n_experts · hidden, cols]` each.
        weights: Vec<Weight>,
        /// Which function.
        function: Function,
        /// Experts among which the choice is.
        n_experts: usize,
        /// How it is made, if by the router's logits behind `x`; `routing` is then written.
        choice: Option<Choice>,
        /// `[1, 2 · top_k]`
        routing: Act,
        /// `[1, top_k · hidden]`; in its slot, the shared expert's `hidden` numbers follow.
        y: Act,
    },
    /// `y = Σ_i weight_i · (w_i · x_i) (+ w · x of the shared expert) + residual`, of one token.
    CombinedExperts {
        /// As [`Node::GatedExperts`] wrote it.
        x: Act,
        /// The shared expert's `[d, hidden]`, or nothing; all experts', `[n_experts · d, hidden]`.
        weights: Vec<Weight>,
        /// `[1, 2 · top_k]`
        routing: Act,
        /// `[1, d]`
        residual: Act,
        /// `[1, d]`
        y: Act,
    },
    /// A node of one token that begins the RMSNorm of what it writes: the norm's readers end it.
    Normed {
        /// `LinearAdd`, `CombinedExperts` or `Embed`.
        node: Box<Node>,
        /// What it begins.
        norm: Norm,
    },
}

/// An RMSNorm that is begun where its input is made. See shaders/tail/norm.wgsl.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    /// `[1, d]`
    pub w: Option<Weight>,
    /// Added to the mean square.
    pub eps: f32,
    /// `[1, d]`, without the norm's scale.
    pub y: Act,
    /// `[n_experts, d]`: its logits are begun as well.
    pub router: Option<Weight>,
}

/// How experts are chosen by logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// `[1, n_experts]`
    pub bias: Option<Weight>,
    /// Scores and weights.
    pub router: Router,
}

impl Node {
    /// The activations that the node reads.
    pub fn reads(&self) -> Vec<Act> {
        match self {
            Node::Plain(op) => op.reads(),
            Node::Stack { x, .. }
            | Node::RopeStore { x, .. }
            | Node::Gated { x, .. }
            | Node::AttentionInput { x, .. } => vec![*x],
            Node::LinearAdd { x, residual, .. } => vec![*x, *residual],
            Node::GatedExperts {
                x, routing, choice, ..
            } => match choice {
                Some(_) => vec![*x],
                None => vec![*x, *routing],
            },
            Node::CombinedExperts {
                x,
                routing,
                residual,
                ..
            } => vec![*x, *routing, *residual],
            Node::Normed { node, .. } => node.reads(),
        }
    }

    /// The activations that the node writes.
    pub fn writes(&self) -> Vec<Act> {
        match self {
            Node::Plain(op) => op.writes().into_iter().collect(),
            Node::RopeStore { q, .. } | Node::AttentionInput { q, .. } => vec![*q],
            Node::Stack { y, .. }
            | Node::Gated { y, .. }
            | Node::LinearAdd { y, .. }
            | Node::CombinedExperts { y, .. } => vec![*y],
            Node::GatedExperts {
                choice, routing, y, ..
            } => match choice {
                Some(_) => vec![*y, *routing],
                None => vec![*y],
            },
            Node::Normed { node, norm } => [node.writes(), vec![norm.y]].concat(),
        }
    }

    /// The weights that must lie below one another in one buffer.
    pub fn stack(&self) -> Vec<Weight> {
        match self {
            Node::Stack { weights, .. }
            | Node::AttentionInput { weights, .. }
            | Node::GatedExperts { weights, .. }
            | Node::CombinedExperts { weights, .. } => weights.clone(),
            Node::Gated { gate, up, .. } => vec![*gate, *up],
            Node::Normed { node, .. } => node.stack(),
            Node::Plain(_) | Node::RopeStore { .. } | Node::LinearAdd { .. } => vec![],
        }
    }
}

/// A program's nodes at the places of its ops; `None` where an op went into another's node.
#[derive(Debug, Clone, PartialEq)]
pub struct Nodes {
    /// For many tokens.
    pub many: Vec<Option<Node>>,
    /// For one token.
    pub one: Vec<Option<Node>>,
    /// Place of the op that opens the head.
    pub head: usize,
}

impl Nodes {
    /// What runs at a place, for one token and for many.
    pub fn at(&self, i: usize) -> impl Iterator<Item = &Node> {
        self.one[i].iter().chain(&self.many[i])
    }
}
