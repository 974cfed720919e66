//! Patterns for one token: matrices with what comes before and after them.

use super::{Fuser, rows_per_binding};
use crate::formats::Format;
use crate::gpu::node::{Choice, Node, Norm};
use crate::op::{Act, Function, Op, Pairing, Rotary, Weight};

/// Most experts whose logits are begun by shares: each workgroup keeps them in its memory.
const MOST_LOGITS: usize = 32;

/// A mixture of experts as ops, and the places of those that go into two nodes.
struct Mixture {
    gated: Node,
    combined: Node,
    gone: Vec<usize>,
    /// Place of the activation, and of the last sum.
    at: [usize; 2],
}

impl Fuser<'_> {
    /// Goes over nodes that were fused for many tokens.
    pub(super) fn decode(&mut self) {
        for i in 0..self.nodes.len() {
            match self.nodes[i].clone() {
                Some(Node::RopeStore { x, rotary, .. }) => self.whole_attention_input(i, x, rotary),
                Some(Node::Plain(Op::Combine { x, routing, y })) => self.experts(x, routing, y),
                _ => None,
            };
        }
        // Norms come last: what reads them is settled.
        for i in 0..self.nodes.len() {
            if let Some(Node::Plain(Op::RmsNorm { x, w, eps, y })) = self.nodes[i].clone() {
                let router = None;
                self.norm(i, x, Norm { w, eps, y, router });
            }
        }
    }

    /// A matrix and the rotation of its rows: invocations have whole pairs.
    fn whole_attention_input(&mut self, i: usize, stacked: Act, rotary: Rotary) -> Option<()> {
        let pairs_are_near =
            rotary.pairing == Pairing::Interleaved || rotary.frequencies.len().is_multiple_of(2);
        if !pairs_are_near || !rotary.head_dim.is_multiple_of(4) {
            return None;
        }
        let at = self.maker(stacked)?;
        let (Some(Node::Stack { x, weights, .. }), Some(Node::RopeStore { q, k, v, .. })) =
            (self.nodes[at].take(), self.nodes[i].take())
        else {
            unreachable!("they were made together")
        };
        self.nodes[i] = Some(Node::AttentionInput {
            x,
            weights,
            rotary,
            q,
            k,
            v,
        });
        Some(())
    }

    /// Gated experts, a shared one of the same width, their weighted sum and what it is added to: two dispatches
    /// instead of eight.
    fn experts(&mut self, outputs: Act, routing: Act, sum: Act) -> Option<()> {
        let mixture = self.mixture(outputs, routing, sum)?;
        for i in mixture.gone {
            self.nodes[i] = None;
        }
        let [gated_at, combined_at] = mixture.at;
        self.nodes[gated_at] = Some(mixture.gated);
        self.nodes[combined_at] = Some(mixture.combined);
        Some(())
    }

    fn mixture(&self, outputs: Act, routing: Act, sum: Act) -> Option<Mixture> {
        let (down_at, hidden, down, n_experts) = self.expert_linear(outputs, routing)?;
        let activate_at = self.writer(hidden)?;
        let Some(Node::Plain(Op::Activate {
            x: gate,
            up: Some(up),
            function,
            ..
        })) = self.nodes[activate_at]
        else {
            return None;
        };
        let (gate_at, x, gate, _) = self.expert_linear(gate, routing)?;
        let (up_at, x_up, up, _) = self.expert_linear(up, routing)?;
        if x != x_up || x.width != gate.cols || gate_at == up_at {
            return None;
        }
        let combine_at = self.maker(sum)?;
        let mut gone = vec![down_at, gate_at, up_at, combine_at];
        let (mut gates, mut downs) = (vec![gate, up], vec![down]);
        let mut sum = sum;
        if let Some(at) = self.only_reader(sum)
            && let Some(Node::LinearAdd { x: h, w, y, .. }) = self.nodes[at]
        {
            let (shared_at, gate, up) = self.gated_by(h, x, function)?;
            if w.cols != down.cols {
                return None;
            }
            gates.splice(0..0, [gate, up]);
            downs.insert(0, w);
            gone.extend([shared_at, at]);
            sum = y;
        }
        let end = self.only_reader(sum)?;
        let Some(Node::Plain(Op::Add { a, b, y })) = self.nodes[end] else {
            return None;
        };
        let gated = Node::GatedExperts {
            x,
            weights: self.stackable(gates)?,
            function,
            n_experts,
            choice: None,
            routing,
            y: hidden,
        };
        let combined = Node::CombinedExperts {
            x: hidden,
            weights: self.stackable(downs)?,
            routing,
            residual: if a == sum { b } else { a },
            y,
        };
        Some(Mixture {
            gated,
            combined,
            gone,
            at: [activate_at, end],
        })
    }

    /// The ExpertLinear that writes `y` for a single reader: its place, input, weight and number of experts.
    fn expert_linear(&self, y: Act, by: Act) -> Option<(usize, Act, Weight, usize)> {
        let i = self.writer(y)?;
        match self.nodes[i] {
            Some(Node::Plain(Op::ExpertLinear {
                x,
                w,
                routing,
                n_experts,
                ..
            })) if routing == by => Some((i, x, w, n_experts)),
            _ => None,
        }
    }

    /// The `Gated` of `x` that writes `y` for a single reader: its place, gate and up.
    fn gated_by(&self, y: Act, x: Act, by: Function) -> Option<(usize, Weight, Weight)> {
        let i = self.writer(y)?;
        match self.nodes[i] {
            Some(Node::Gated {
                x: input,
                gate,
                up,
                function,
                ..
            }) if input == x && function == by => Some((i, gate, up)),
            _ => None,
        }
    }

    /// An RMSNorm of what a matrix or the embedding writes: begun there, and ended by the matrices that read it.
    fn norm(&mut self, i: usize, x: Act, mut norm: Norm) -> Option<()> {
        // In the head, of the last token, which is the only one.
        let last_at = self.maker(x).filter(|&at| {
            matches!(self.nodes[at], Some(Node::Plain(Op::Last { .. }))) && self.readers[x.id] == 1
        });
        let source = match last_at.map(|at| self.nodes[at].as_ref()) {
            Some(Some(Node::Plain(Op::Last { x, .. }))) => *x,
            _ => x,
        };
        let at = self.maker(source)?;
        let node = self.nodes[at].clone()?;
        let whole = |w: &Weight| {
            let info = &self.weights[w.id];
            info.rows <= rows_per_binding(info, self.max_bytes)
        };
        let is_maker = match &node {
            Node::LinearAdd { w, .. } | Node::Plain(Op::Embed { w, .. }) => whole(w),
            Node::CombinedExperts { .. } => true,
            _ => false,
        };
        if !is_maker || !self.ends_norms(norm.y) {
            return None;
        }
        if let Node::LinearAdd { .. } = node {
            norm.router = self.router(norm.y);
        }
        self.nodes[i] = None;
        if let Some(at) = last_at {
            self.nodes[at] = None;
        }
        self.nodes[at] = Some(Node::Normed {
            node: Box::new(node),
            norm,
        });
        Some(())
    }

    /// Whether all that reads `h` are matrices, which can apply a norm's scale to their products.
    fn ends_norms(&self, h: Act) -> bool {
        let can = |node: &Node| match node {
            Node::Plain(Op::Linear { x, .. })
            | Node::Stack { x, .. }
            | Node::AttentionInput { x, .. }
            | Node::Gated { x, .. } => *x == h,
            Node::LinearAdd { x, residual, .. } => *x == h && *residual != h,
            Node::GatedExperts { x, routing, .. } => *x == h && *routing != h,
            _ => false,
        };
        let mut readers = self.nodes.iter().flatten();
        h != self.logits && readers.all(|node| !node.reads().contains(&h) || can(node))
    }

    /// The router of floats over `h` whose logits nothing reads but the choice of experts that run on `h`. The
    /// choice moves to where they run.
    fn router(&mut self, h: Act) -> Option<Weight> {
        let is_router = |node: &Node| match node {
            Node::Plain(Op::Linear { x, w, y, .. }) if *x == h => Some((*w, *y)),
            _ => None,
        };
        let places = 0..self.nodes.len();
        let find = |i: usize| {
            let (w, logits) = is_router(self.nodes[i].as_ref()?)?;
            let (_, _, w) = self.linear(logits).filter(|(_, _, found)| *found == w)?;
            let route_at = self.only_reader(logits)?;
            match self.nodes[route_at] {
                Some(Node::Plain(Op::Route {
                    bias, router, y, ..
                })) => Some((i, route_at, w, Choice { bias, router }, y)),
                _ => None,
            }
        };
        let (linear_at, route_at, w, how, chosen) = places.clone().find_map(find)?;
        let info = &self.weights[w.id];
        let is_small = w.rows <= MOST_LOGITS
            && matches!(info.format, Format::F32 | Format::F16 | Format::Bf16)
            && w.rows <= rows_per_binding(info, self.max_bytes);
        // Four readers of it are these two nodes.
        let reads = |i: &usize| {
            let reads = |node: &Node| node.reads().contains(&chosen);
            self.nodes[*i].as_ref().is_some_and(reads)
        };
        let [first, second] = places.filter(reads).collect::<Vec<_>>()[..] else {
            return None;
        };
        if !is_small || !matches!(self.nodes[second], Some(Node::CombinedExperts { .. })) {
            return None;
        }
        let Some(Node::GatedExperts { x, choice, .. }) = &mut self.nodes[first] else {
            return None;
        };
        if *x != h {
            return None;
        }
        *choice = Some(how);
        self.nodes[linear_at] = None;
        self.nodes[route_at] = None;
        Some(w)
    }

    /// The only node that reads `y`.
    fn only_reader(&self, y: Act) -> Option<usize> {
        (self.readers[y.id] == 1).then_some(())?;
        let reads = |node: &Option<Node>| node.as_ref().is_some_and(|n| n.reads().contains(&y));
        self.nodes.iter().position(reads)
    }
}
