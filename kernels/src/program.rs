//! A forward pass as data: [`Builder`] records ops, [`Program`] is the immutable result.

mod metric;

use crate::op::{Act, Cache, Function, Heads, Metric, Op, Rotary, Router, Score, Weight};

/// A recorded forward pass. Backend-free; never changes after [`Builder::finish`].
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// Embedding to last layer over all `n` tokens: `ops[.. head]`; then the head over the last token alone.
    pub ops: Vec<Op>,
    /// Index of the op that opens the head (`Op::Last`).
    pub head: usize,
    /// Buffer that each activation lives in: `slot_of[act.id]`.
    pub slot_of: Vec<usize>,
    /// The buffers, each as large as the largest activation that ever lives in it.
    pub slots: Vec<Slot>,
    /// Columns of each cache.
    pub cache_widths: Vec<usize>,
    /// The head's last output, `[1, vocab]`.
    pub logits: Act,
}

/// A reusable buffer for activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Columns.
    pub width: usize,
    /// True where it only ever holds activations of the head: one row is enough.
    pub single_row: bool,
}

/// What a cache is to attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What queries are compared with.
    Keys,
    /// What is mixed.
    Values,
}

impl Program {
    /// Of each cache what it is to attention by dot products with heads that `fit`, where nothing else reads it, and with
    /// its keys or values neither: a backend may keep both as it likes.
    pub fn roles(&self, fit: impl Fn(Heads) -> bool) -> Vec<Option<(Role, Heads)>> {
        let mut roles = vec![None; self.cache_widths.len()];
        for op in &self.ops {
            if let Op::Attention { k, v, heads, .. } = op {
                roles[k.id] = Some((Role::Keys, *heads));
                roles[v.id] = Some((Role::Values, *heads));
            }
        }
        // What one op rules out may rule out what an earlier one left.
        loop {
            let before = roles.clone();
            for op in &self.ops {
                match op {
                    Op::Attention {
                        k,
                        v,
                        heads,
                        metric,
                        ..
                    } => {
                        let wanted = (Some((Role::Keys, *heads)), Some((Role::Values, *heads)));
                        if !metric.is_product()
                            || !fit(*heads)
                            || (roles[k.id], roles[v.id]) != wanted
                        {
                            (roles[k.id], roles[v.id]) = (None, None);
                        }
                    }
                    Op::Conv { x, .. } => roles[x.id] = None,
                    _ => {}
                }
            }
            if roles == before {
                return roles;
            }
        }
    }

    /// The ops before the head: `n` rows each.
    pub fn body(&self) -> &[Op] {
        &self.ops[..self.head]
    }

    /// The ops from `Op::Last` on: one row each.
    pub fn tail(&self) -> &[Op] {
        &self.ops[self.head..]
    }

    /// The slot of an activation.
    pub fn slot(&self, act: Act) -> usize {
        self.slot_of[act.id]
    }

    /// Size of the vocabulary.
    pub fn vocab(&self) -> usize {
        self.logits.width
    }
}

/// Records a forward pass op by op. Every method checks widths and returns the handle that it made.
#[derive(Debug, Default)]
pub struct Builder {
    ops: Vec<Op>,
    head: Option<usize>,
    n_acts: usize,
    cache_widths: Vec<usize>,
}

impl Builder {
    /// An empty recording.
    pub fn new() -> Self {
        Self::default()
    }

    /// `tokens[n] → [n, d]`.
    pub fn embed(&mut self, w: Weight) -> Act {
        let y = self.act(w.cols);
        self.push(Op::Embed { w, y });
        y
    }

    /// `x[n, d], w[1, d] → [n, d]`; without `w`, ones.
    pub fn rms_norm(&mut self, x: Act, w: Option<Weight>, eps: f32) -> Act {
        if let Some(w) = w {
            assert_eq!(
                (w.rows, w.cols),
                (1, x.width),
                "norm weight of another width"
            );
        }
        let y = self.act(x.width);
        self.push(Op::RmsNorm { x, w, eps, y });
        y
    }

    /// `x[n, cols], w[rows, cols], bias[1, rows] → [n, rows]`.
    pub fn linear(&mut self, x: Act, w: Weight, bias: Option<Weight>) -> Act {
        assert_eq!(w.cols, x.width, "linear over another width");
        if let Some(b) = bias {
            assert_eq!((b.rows, b.cols), (1, w.rows), "bias of another width");
        }
        let y = self.act(w.rows);
        self.push(Op::Linear { x, w, bias, y });
        y
    }

    /// `x[n, heads · head_dim]` → the same shape, turned by position.
    pub fn rope(&mut self, x: Act, rotary: &Rotary) -> Act {
        assert_eq!(x.width % rotary.head_dim, 0, "rope over a part of a head");
        assert!(
            2 * rotary.frequencies.len() <= rotary.head_dim,
            "more pairs than a head holds"
        );
        let y = self.act(x.width);
        self.push(Op::Rope {
            x,
            rotary: rotary.clone(),
            phases: None,
            y,
        });
        y
    }

    /// Makes a cache of `[context, x.width]` and stores `x[n, width]` in its rows `pos .. pos + n`.
    pub fn store(&mut self, x: Act) -> Cache {
        let cache = Cache {
            id: self.cache_widths.len(),
            width: x.width,
        };
        self.cache_widths.push(x.width);
        self.push(Op::Store { x, cache });
        cache
    }

    /// `q[n, n_heads · head_dim]` over the caches → the same shape as `q`, by dot products times `scale`.
    pub fn attention(&mut self, q: Act, k: Cache, v: Cache, heads: Heads, scale: f32) -> Act {
        self.metric_attention(q, k, v, heads, Metric::dot(scale))
    }

    /// `x[n, hidden], up[n, hidden] → [n, hidden]`.
    pub fn activate(&mut self, x: Act, up: Option<Act>, function: Function) -> Act {
        if let Some(up) = up {
            assert_eq!(x.width, up.width, "gate and up differ in width");
        }
        let y = self.act(x.width);
        self.push(Op::Activate { x, up, function, y });
        y
    }

    /// `logits[n, n_experts] → [n, 2 · top_k]`: ids and weights.
    pub fn route(&mut self, logits: Act, bias: Option<Weight>, router: Router) -> Act {
        assert!(
            (1..=logits.width).contains(&router.top_k),
            "{} of {} experts",
            router.top_k,
            logits.width
        );
        assert!(
            bias.is_none() || router.score == Score::Sigmoid,
            "a bias chooses among sigmoids"
        );
        if let Some(b) = bias {
            assert_eq!((b.rows, b.cols), (1, logits.width), "bias of another width");
        }
        let y = self.act(2 * router.top_k);
        self.push(Op::Route {
            logits,
            bias,
            router,
            y,
        });
        y
    }

    /// `x[n, cols]` or `x[n, top_k · cols]`, `w[n_experts · rows, cols] → [n, top_k · rows]`.
    pub fn expert_linear(&mut self, x: Act, w: Weight, routing: Act, n_experts: usize) -> Act {
        let top_k = routing.width / 2;
        assert!(
            x.width == w.cols || x.width == top_k * w.cols,
            "experts over another width"
        );
        assert_eq!(w.rows % n_experts, 0, "experts of unequal rows");
        let y = self.act(top_k * (w.rows / n_experts));
        self.push(Op::ExpertLinear {
            x,
            w,
            routing,
            y,
            n_experts,
        });
        y
    }

    /// `x[n, top_k · d] → [n, d]`, weighted by `routing`.
    pub fn combine(&mut self, x: Act, routing: Act) -> Act {
        let top_k = routing.width / 2;
        assert_eq!(x.width % top_k, 0, "experts' outputs of unequal width");
        let y = self.act(x.width / top_k);
        self.push(Op::Combine { x, routing, y });
        y
    }

    /// `a[n, d] + b[n, d] → [n, d]`.
    pub fn add(&mut self, a: Act, b: Act) -> Act {
        assert_eq!(a.width, b.width, "sum of two widths");
        let y = self.act(a.width);
        self.push(Op::Add { a, b, y });
        y
    }

    /// `x[n, d] → [1, d]`, the last token's row; opens the head.
    pub fn last(&mut self, x: Act) -> Act {
        assert!(self.head.is_none(), "a program has one head");
        self.head = Some(self.ops.len());
        let y = self.act(x.width);
        self.push(Op::Last { x, y });
        y
    }

    /// Ends the recording: `logits[1, vocab]` is what the sampler reads.
    pub fn finish(self, logits: Act) -> Program {
        let head = self
            .head
            .expect("a program ends with a head: call `last` first");
        let (slot_of, slots) = assign_slots(&self.ops, head, self.n_acts, logits);
        Program {
            ops: self.ops,
            head,
            slot_of,
            slots,
            cache_widths: self.cache_widths,
            logits,
        }
    }

    fn act(&mut self, width: usize) -> Act {
        assert!(width > 0, "an activation without columns");
        self.n_acts += 1;
        Act {
            id: self.n_acts - 1,
            width,
        }
    }

    fn push(&mut self, op: Op) {
        self.ops.push(op);
    }
}

/// Gives each activation a slot such that two that are alive at the same time never share one.
///
/// An activation lives from the op that writes it through the last op that reads it, so an op's output
/// never shares a slot with its inputs. The logits stay alive to the end.
fn assign_slots(ops: &[Op], head: usize, n_acts: usize, logits: Act) -> (Vec<usize>, Vec<Slot>) {
    let mut last_use = vec![0; n_acts];
    for (i, op) in ops.iter().enumerate() {
        for act in op.reads().into_iter().chain(op.writes()) {
            last_use[act.id] = i;
        }
    }
    last_use[logits.id] = usize::MAX;

    let mut slot_of = vec![usize::MAX; n_acts];
    let mut slots: Vec<Slot> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    for (i, op) in ops.iter().enumerate() {
        if let Some(y) = op.writes() {
            let single_row = i >= head;
            let slot = pick(&mut free, &slots, y.width, single_row).unwrap_or_else(|| {
                slots.push(Slot {
                    width: y.width,
                    single_row,
                });
                slots.len() - 1
            });
            slots[slot].width = slots[slot].width.max(y.width);
            slot_of[y.id] = slot;
        }
        for act in op.reads().into_iter().chain(op.writes()) {
            let slot = slot_of[act.id];
            assert_ne!(
                slot,
                usize::MAX,
                "activation {} is read before it is written",
                act.id
            );
            if last_use[act.id] == i && !free.contains(&slot) {
                free.push(slot);
            }
        }
    }
    (slot_of, slots)
}

/// The free slot of the nearest width. Rows of the head and of the body never share one, so that the
/// logits, `[1, vocab]`, do not make a buffer of `[n, vocab]`.
fn pick(free: &mut Vec<usize>, slots: &[Slot], width: usize, single_row: bool) -> Option<usize> {
    let best = (0..free.len())
        .filter(|&at| slots[free[at]].single_row == single_row)
        .min_by_key(|&at| slots[free[at]].width.abs_diff(width))?;
    Some(free.swap_remove(best))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(id: usize, rows: usize, cols: usize) -> Weight {
        Weight { id, rows, cols }
    }

    fn small() -> Program {
        let mut b = Builder::new();
        let mut x = b.embed(weight(0, 100, 8));
        for layer in 0..4 {
            let h = b.rms_norm(x, Some(weight(1 + layer, 1, 8)), 1e-5);
            let h = b.linear(h, weight(10 + layer, 8, 8), None);
            x = b.add(x, h);
        }
        let x = b.last(x);
        let logits = b.linear(x, weight(0, 100, 8), None);
        b.finish(logits)
    }

    #[test]
    fn depth_does_not_cost_slots() {
        let program = small();
        assert_eq!(program.slots.iter().filter(|s| !s.single_row).count(), 3);
        let logits = program.slots[program.slot(program.logits)];
        assert_eq!(
            logits,
            Slot {
                width: 100,
                single_row: true
            }
        );
    }

    #[test]
    fn no_op_reads_a_slot_it_writes() {
        let program = small();
        for op in &program.ops {
            let Some(y) = op.writes() else { continue };
            for x in op.reads() {
                assert_ne!(program.slot(x), program.slot(y), "{op:?}");
            }
        }
    }

    #[test]
    fn a_value_survives_until_its_last_reader() {
        let program = small();
        let mut owner = vec![usize::MAX; program.slots.len()];
        for op in &program.ops {
            for x in op.reads() {
                assert_eq!(
                    owner[program.slot(x)],
                    x.id,
                    "{op:?} reads a slot that was overwritten"
                );
            }
            if let Some(y) = op.writes() {
                owner[program.slot(y)] = y.id;
            }
        }
    }

    /// Three attentions, the second by keys of the first and the third by values of the second; what convolves the
    /// last keys rules out all of them.
    #[test]
    fn caches_that_others_read_have_no_role() {
        let heads = Heads {
            n_heads: 2,
            n_kv_heads: 1,
            head_dim: 4,
        };
        let roles = |is_convolved: bool| {
            let mut b = Builder::new();
            let x = b.embed(weight(0, 100, 8));
            let kv = b.linear(x, weight(1, 4, 8), None);
            let caches: [Cache; 4] = std::array::from_fn(|_| b.store(kv));
            for (k, v) in [(0, 1), (0, 3), (2, 3)] {
                b.attention(x, caches[k], caches[v], heads, 0.5);
            }
            if is_convolved {
                b.conv(caches[2], weight(2, 1, 12), None);
            }
            let x = b.last(x);
            let logits = b.linear(x, weight(0, 100, 8), None);
            b.finish(logits).roles(|_| true)
        };
        let (keys, values) = (Some((Role::Keys, heads)), Some((Role::Values, heads)));
        assert_eq!(roles(false), [keys, values, keys, values]);
        assert_eq!(roles(true), [None; 4]);
    }
}
