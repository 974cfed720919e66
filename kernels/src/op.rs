//! The vocabulary: every step that a forward pass can take, with its shapes.
//!
//! `n` is the number of tokens in this [`Step`]; `d` the model's width. All values are f32, row-major.
//! Handles are `Copy` and carry their sizes, so a backend needs nothing but the op.

mod metric;

pub use metric::{Balls, Map, Metric, Parameter, Similarity};

/// What changes between two runs of a program, and nothing else.
/// Mirrors `Step` in shaders/step.wgsl.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Step {
    /// Position in the context of the first of the `n` tokens.
    pub pos: u32,
    /// Number of tokens.
    pub n: u32,
}

/// An activation `[n, width]`; in a program's head, where only the last token goes on, `[1, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Act {
    /// Index into [`Program::acts`](crate::program::Program).
    pub id: usize,
    /// Columns.
    pub width: usize,
}

/// A weight matrix `[rows, cols]` = `[out, in]`; a vector is `[1, cols]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Weight {
    /// Index into the list of weights that a model was recorded with.
    pub id: usize,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
}

/// A cache `[context, width]` that keeps one row per position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cache {
    /// Index into [`Program::caches`](crate::program::Program).
    pub id: usize,
    /// Columns.
    pub width: usize,
}

/// How attention heads share a row: query head `h` reads key/value head `h / (n_heads / n_kv_heads)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heads {
    /// Query heads.
    pub n_heads: usize,
    /// Key/value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
}

/// Which two elements of a head a rotation turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pairing {
    /// `(i, i + rotary_dim/2)`: GPT-NeoX, Hugging Face's Llama.
    Half,
    /// `(2i, 2i + 1)`: the original Llama and its GGUF files.
    Interleaved,
}

/// Rotary position embedding (Su et al. 2021): pair `i` is turned by `pos · frequency[i]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotary {
    /// Width of one head; the first `2 · frequencies.len()` elements of each head turn, the rest pass.
    pub head_dim: usize,
    /// Which elements make a pair.
    pub pairing: Pairing,
    /// Radians per position for each pair, long-context scaling applied, `[rotary_dim / 2]`.
    pub frequencies: Vec<f32>,
}

/// Element-wise functions of an MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// `x · sigmoid(x)`; with a gate, SwiGLU (Shazeer 2020).
    Silu,
    /// `x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³)))` (Hendrycks & Gimpel 2016).
    Gelu,
    /// `x/2 · (1 + erf(x / √2))`: what [`Function::Gelu`] approximates, and PyTorch's default.
    GeluErf,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)²` (So et al. 2021).
    ReluSquared,
    /// `1 / (1 + exp(−x))`
    Sigmoid,
}

/// How a router's logits become scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Score {
    /// Over all experts: they sum to 1.
    Softmax,
    /// Each expert by itself.
    Sigmoid,
}

/// How a token's experts are chosen (Shazeer et al. 2017).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Router {
    /// From logits to scores.
    pub score: Score,
    /// Experts per token.
    pub top_k: usize,
    /// Whether the weights of the chosen are divided by their sum (at least 1e-6).
    pub renormalise: bool,
}

/// One step of the forward pass. An op never reads an activation that it writes.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// `tokens[n] → y[n, d]`: `y = w[token]`, `w[vocab, d]`.
    Embed {
        /// `[vocab, d]`
        w: Weight,
        /// `[n, d]`
        y: Act,
    },
    /// `y = x / sqrt(mean(x²) + eps) · w` per row (Zhang & Sennrich 2019).
    RmsNorm {
        /// `[n, d]`
        x: Act,
        /// `[1, d]`; ones where there is none.
        w: Option<Weight>,
        /// Added to the mean square.
        eps: f32,
        /// `[n, d]`
        y: Act,
    },
    /// `y = (x − mean(x)) / sqrt(var(x) + eps) · w (+ bias)` per row (Ba et al. 2016).
    LayerNorm {
        /// `[n, d]`
        x: Act,
        /// `[1, d]`
        w: Weight,
        /// `[1, d]`
        bias: Option<Weight>,
        /// Added to the variance.
        eps: f32,
        /// `[n, d]`
        y: Act,
    },
    /// `y = x · wᵀ (+ bias)`.
    Linear {
        /// `[n, cols]`
        x: Act,
        /// `[rows, cols]`
        w: Weight,
        /// `[1, rows]`
        bias: Option<Weight>,
        /// `[n, rows]`
        y: Act,
    },
    /// Turns every head of each row by its position.
    Rope {
        /// `[n, heads · head_dim]`
        x: Act,
        /// Pairing and frequencies.
        rotary: Rotary,
        /// Radians that are added for each pair, `[n, pairs]`.
        phases: Option<Act>,
        /// As `x`.
        y: Act,
    },
    /// `y = [cos(p · f_1), …, cos(p · f_R), sin(p · f_1), …, sin(p · f_R)]` of each token's position `p`.
    Fourier {
        /// Radians per position, `[R]`.
        frequencies: Vec<f32>,
        /// `[n, 2 · R]`
        y: Act,
    },
    /// `cache[pos .. pos + n] = x`.
    Store {
        /// `[n, width]`
        x: Act,
        /// `[context, width]`
        cache: Cache,
    },
    /// Causal attention of `n` queries over positions `0 ..= pos + i`:
    /// `y = softmax(scores(q, k)) · v` per head.
    Attention {
        /// `[n, n_heads · head_dim]`
        q: Act,
        /// `[context, n_kv_heads · head_dim]`
        k: Cache,
        /// `[context, n_kv_heads · head_dim]`
        v: Cache,
        /// How heads share a row.
        heads: Heads,
        /// How a key scores.
        metric: Metric,
        /// `[n, n_heads · head_dim]`
        y: Act,
    },
    /// Causal depthwise convolution with `k` taps, of rows that `Store` has put in a cache:
    /// `y[p, c] = Σ_j w[c, j] · x[p − (k − 1) + j, c] (+ bias[c])`, rows before position 0 being 0.
    Conv {
        /// `[context, c]`
        x: Cache,
        /// `[1, c · k]`: the taps of a column side by side.
        w: Weight,
        /// `[1, c]`
        bias: Option<Weight>,
        /// `[n, c]`
        y: Act,
    },
    /// `y = x · factor`; each of the `k` factors has `d / k` columns.
    Scale {
        /// `[n, d]`
        x: Act,
        /// `[1, k]`, for all rows.
        factors: Parameter,
        /// `[n, d]`
        y: Act,
    },
    /// `y = x · (low + (high − low) · sigmoid(gate))`; each of the `k` gates has `d / k` columns.
    Gate {
        /// `[n, d]`
        x: Act,
        /// `[n, k]`
        gates: Act,
        /// The factor of a gate at −∞, and at ∞.
        range: (f32, f32),
        /// `[n, d]`
        y: Act,
    },
    /// `y = f(x)`, or `y = f(x) · up`, element by element.
    Activate {
        /// `[n, hidden]`; the gate, where there is an `up`.
        x: Act,
        /// `[n, hidden]`
        up: Option<Act>,
        /// Which function.
        function: Function,
        /// `[n, hidden]`
        y: Act,
    },
    /// Chooses each token's experts: the `top_k` largest of `score + bias`, the lower id first among equals.
    /// A row of `y` holds their `top_k` ids, as whole numbers, then their `top_k` weights, the scores
    /// without bias.
    Route {
        /// `[n, n_experts]`
        logits: Act,
        /// `[1, n_experts]`; moves the choice, not the weights.
        bias: Option<Weight>,
        /// How.
        router: Router,
        /// `[n, 2 · top_k]`
        y: Act,
    },
    /// `y[i] = x · w[id_i]ᵀ` for the chosen experts `id_i` of each token.
    ExpertLinear {
        /// `[n, cols]`, one input for all of a token's experts, or `[n, top_k · cols]`, one for each.
        x: Act,
        /// `[n_experts · rows, cols]`, the experts below one another.
        w: Weight,
        /// `[n, 2 · top_k]`, by `Route`.
        routing: Act,
        /// `[n, top_k · rows]`
        y: Act,
        /// Experts in `w`.
        n_experts: usize,
    },
    /// `y = Σ_i weight_i · x_i` over the chosen experts of each token.
    Combine {
        /// `[n, top_k · d]`
        x: Act,
        /// `[n, 2 · top_k]`, by `Route`.
        routing: Act,
        /// `[n, d]`
        y: Act,
    },
    /// How much each of a few parallel paths counts: `softmax((logits + bias) / temperature)`, all but the
    /// `top_k` largest set to 0 (the first among equals kept), the rest divided by their sum.
    PathWeights {
        /// `[n, n_paths]`
        logits: Act,
        /// `[1, n_paths]`
        bias: Option<Weight>,
        /// Divides the logits.
        temperature: f32,
        /// Paths whose weight is not 0.
        top_k: usize,
        /// `[n, n_paths]`
        y: Act,
    },
    /// `y = (sum +) weights[·, path] · x`: one more path of a mixture.
    Blend {
        /// `[n, d]`, the paths so far.
        sum: Option<Act>,
        /// `[n, d]`, the path's output.
        x: Act,
        /// `[n, n_paths]`, by `PathWeights`.
        weights: Act,
        /// Which column of them.
        path: usize,
        /// `[n, d]`
        y: Act,
    },
    /// `y = a + b`, element by element.
    Add {
        /// `[n, d]`
        a: Act,
        /// `[n, d]`
        b: Act,
        /// `[n, d]`
        y: Act,
    },
    /// `x[n, d] → y[1, d]`: the last token's row. Opens the program's head: what follows sees `n = 1`.
    Last {
        /// `[n, d]`
        x: Act,
        /// `[1, d]`
        y: Act,
    },
}

impl Op {
    /// The matrix and the vectors (norm weight, bias, parameters) that the op uses.
    pub fn weights(&self) -> (Option<Weight>, Vec<Weight>) {
        match *self {
            Op::Embed { w, .. } | Op::ExpertLinear { w, .. } => (Some(w), vec![]),
            Op::Linear { w, bias, .. } => (Some(w), bias.into_iter().collect()),
            Op::RmsNorm { w, .. } => (None, w.into_iter().collect()),
            Op::LayerNorm { w, bias, .. } | Op::Conv { w, bias, .. } => {
                (None, [w].into_iter().chain(bias).collect())
            }
            Op::Scale { factors, .. } => (None, vec![factors.w]),
            Op::Route { bias, .. } | Op::PathWeights { bias, .. } => {
                (None, bias.into_iter().collect())
            }
            Op::Attention { metric, .. } => (None, metric.weights().collect()),
            _ => (None, vec![]),
        }
    }

    /// The activations that the op reads.
    pub fn reads(&self) -> Vec<Act> {
        match *self {
            Op::Embed { .. } | Op::Fourier { .. } | Op::Conv { .. } => vec![],
            Op::RmsNorm { x, .. }
            | Op::LayerNorm { x, .. }
            | Op::Linear { x, .. }
            | Op::Store { x, .. }
            | Op::Scale { x, .. }
            | Op::Last { x, .. } => vec![x],
            Op::Rope { x, phases, .. } => [x].into_iter().chain(phases).collect(),
            Op::Gate { x, gates, .. } => vec![x, gates],
            Op::PathWeights { logits, .. } => vec![logits],
            Op::Blend {
                sum, x, weights, ..
            } => sum.into_iter().chain([x, weights]).collect(),
            Op::Attention { q, .. } => vec![q],
            Op::Activate { x, up, .. } => [x].into_iter().chain(up).collect(),
            Op::Route { logits, .. } => vec![logits],
            Op::ExpertLinear { x, routing, .. } | Op::Combine { x, routing, .. } => {
                vec![x, routing]
            }
            Op::Add { a, b, .. } => vec![a, b],
        }
    }

    /// The activation that the op writes; `Store` writes a cache instead.
    pub fn writes(&self) -> Option<Act> {
        match *self {
            Op::Embed { y, .. }
            | Op::RmsNorm { y, .. }
            | Op::LayerNorm { y, .. }
            | Op::Fourier { y, .. }
            | Op::Conv { y, .. }
            | Op::Scale { y, .. }
            | Op::Gate { y, .. }
            | Op::PathWeights { y, .. }
            | Op::Blend { y, .. }
            | Op::Linear { y, .. }
            | Op::Rope { y, .. }
            | Op::Attention { y, .. }
            | Op::Activate { y, .. }
            | Op::Route { y, .. }
            | Op::ExpertLinear { y, .. }
            | Op::Combine { y, .. }
            | Op::Add { y, .. }
            | Op::Last { y, .. } => Some(y),
            Op::Store { .. } => None,
        }
    }
}
