//! A random model whose MLPs are mixtures of gated experts.

use super::{Model, Net, rotary};
use engine::formats::Format;
use engine::op::{Function, Heads, Pairing, Router, Score};

/// Its sizes and formats.
#[derive(Debug, Clone, Copy)]
pub struct Mixture {
    pub vocab: usize,
    pub d: usize,
    pub layers: usize,
    pub heads: Heads,
    /// Of one expert.
    pub hidden: usize,
    pub n_experts: usize,
    pub router: Router,
    /// Whether a bias moves the choice.
    pub biased: bool,
    pub router_format: Format,
    /// Of queries and keys; of the rest of attention; of the experts.
    pub formats: [Format; 3],
    /// Of a shared expert, and its width.
    pub shared: Option<(Format, usize)>,
    /// Whether the last norm has a weight.
    pub last_gain: bool,
}

/// As SSMoELM has it.
pub const SMALL: Mixture = Mixture {
    vocab: 193,
    d: 96,
    layers: 2,
    heads: Heads {
        n_heads: 3,
        n_kv_heads: 1,
        head_dim: 32,
    },
    hidden: 64,
    n_experts: 8,
    router: Router {
        score: Score::Softmax,
        top_k: 2,
        renormalise: true,
    },
    biased: false,
    router_format: Format::F16,
    formats: [Format::I4, Format::B1, Format::B1],
    shared: Some((Format::I4, 64)),
    last_gain: true,
};

impl Mixture {
    /// Records the model with a tied head.
    pub fn build(&self) -> Model {
        let mut net = Net::new();
        let head_dim = self.heads.head_dim;
        let rotary = rotary(head_dim, Pairing::Half, head_dim / 2);
        let [own, rest, experts] = self.formats;
        let table = net.weight(self.vocab, self.d, own);
        let mut x = net.b.embed(table);
        for _ in 0..self.layers {
            let norm = net.weight(1, self.d, Format::F16);
            let h = net.b.rms_norm(x, Some(norm), 1e-5);
            let h = net.attention(h, self.heads, &rotary, [own, own, rest]);
            let w = net.weight(self.d, h.width, rest);
            let h = net.b.linear(h, w, None);
            x = net.b.add(x, h);
            let norm = net.weight(1, self.d, Format::F16);
            let h = net.b.rms_norm(x, Some(norm), 1e-5);
            let router = net.weight(self.n_experts, self.d, self.router_format);
            let logits = net.b.linear(h, router, None);
            let bias = self
                .biased
                .then(|| net.weight(1, self.n_experts, Format::F32));
            let routing = net.b.route(logits, bias, self.router);
            let rows = self.n_experts * self.hidden;
            let [gate, up] = [(); 2].map(|()| {
                let w = net.weight(rows, self.d, experts);
                net.b.expert_linear(h, w, routing, self.n_experts)
            });
            let a = net.b.activate(gate, Some(up), Function::Silu);
            let down = net.weight(self.n_experts * self.d, self.hidden, experts);
            let y = net.b.expert_linear(a, down, routing, self.n_experts);
            let mut y = net.b.combine(y, routing);
            if let Some((format, hidden)) = self.shared {
                let [gate, up] = [(); 2].map(|()| {
                    let w = net.weight(hidden, self.d, format);
                    net.b.linear(h, w, None)
                });
                let a = net.b.activate(gate, Some(up), Function::Silu);
                let down = net.weight(self.d, hidden, format);
                let shared = net.b.linear(a, down, None);
                y = net.b.add(y, shared);
            }
            x = net.b.add(x, y);
        }
        let x = net.b.last(x);
        let norm = self.last_gain.then(|| net.weight(1, self.d, Format::F16));
        let x = net.b.rms_norm(x, norm, 1e-5);
        let logits = net.b.linear(x, table, None);
        net.finish(logits)
    }
}
