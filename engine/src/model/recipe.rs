//! Forward passes as data: which tensors make which parts, in which order.
//!
//! A recipe is JSON. `"$key"` stands for the value of that key in config.json, `"$key|default"` for a default
//! where there is none. Names are those of the file, within a layer without its prefix; a part that is named
//! without its last word (`linear`, `conv`, `norm`) has a `weight` and, where the file holds one, a `bias`.
//! Learned factors (`scale`, `alpha`, `offset`, balls, `phase`, `energy`) that a file does not hold are left out:
//! a recipe may name more than there is, but loading fails unless it names all that there is.

mod attention;
mod words;

use super::{bad, blocks};
use crate::{
    Error, Result,
    op::{Act, Op, Parameter, Weight},
    program::{Builder, Program},
    weights::Scope,
};
use attention::Attention;
use serde::Deserialize;
use serde_json::Value;
use words::{FactorMap, Function, filled_in};

/// A forward pass, from the embedding to the head.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// `[vocab, d]`
    embedding: String,
    /// `[vocab, d]`; the embedding where the file has no such tensor.
    head: Option<String>,
    /// The prefix of a layer's names, `{}` being its number, from 0.
    layers: String,
    /// What every layer does.
    layer: Vec<Part>,
    /// What comes after the last layer, for every token.
    #[serde(default)]
    after: Vec<Part>,
    /// What comes then, for the last token alone, before the head.
    #[serde(rename = "final")]
    last: Vec<Part>,
    /// Ends of names that the forward pass has no use for.
    #[serde(default)]
    ignored: Vec<String>,
}

/// A step from `x[n, width]` to `y[n, width']`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    /// `x + parts(x)`
    Residual(Vec<Part>),
    /// LayerNorm where there is a bias, otherwise RMSNorm.
    Norm(Norm),
    /// `x · wᵀ (+ bias)`; the weight may be stored as a convolution's, `[out, in, 1]`.
    Linear(String),
    /// Causal depthwise convolution by `[d, 1, k]` or `[d, k]`.
    Conv(String),
    /// Element by element.
    Function(Function),
    /// `function(gate(x)) · up(x)`, by two matrices.
    Gated {
        gate: String,
        up: String,
        function: Function,
    },
    /// `x · map(w)`: a factor per column, or per run of columns.
    Scale(Factor),
    /// `of(x) · (low + (high − low) · sigmoid(by(x)))`: between 0 and 2 unless said otherwise.
    Gate {
        by: Vec<Part>,
        of: Vec<Part>,
        #[serde(default = "zero_to_two")]
        range: (f32, f32),
    },
    /// Parallel paths, weighted by a router.
    Mix(Mix),
    /// Metric attention, without an output matrix.
    Attention(Box<Attention>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Norm {
    name: String,
    #[serde(default = "eps")]
    eps: f32,
}

/// A learned vector, by its whole name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Factor {
    name: String,
    #[serde(default)]
    map: FactorMap,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mix {
    /// From `x` to a logit per path.
    router: Vec<Part>,
    /// Added to the logits, by its whole name.
    offset: Option<String>,
    #[serde(default = "one")]
    temperature: f32,
    /// How many paths count; all of them where it is not said.
    top_k: Option<usize>,
    paths: Vec<Vec<Part>>,
}

fn one() -> f32 {
    1.0
}

fn eps() -> f32 {
    1e-5
}

fn zero_to_two() -> (f32, f32) {
    (0.0, 2.0)
}

impl Recipe {
    /// # Errors
    /// [`Error::BadConfig`] when it is no recipe, or asks for a key that config.json does not have.
    pub fn read(recipe: &Value, config: &Value) -> Result<Self> {
        let recipe = filled_in(recipe, config)?;
        Self::deserialize(recipe).map_err(|e| bad(format!("its recipe is not understood: {e}")))
    }

    /// Records the forward pass.
    ///
    /// # Errors
    /// When a weight is missing or of another shape.
    pub fn record(&self, weights: &Scope<'_>) -> Result<Program> {
        let [vocab, d] = weights.sizes(&self.embedding, [0, 0])?;
        let embedding = weights.matrix(&self.embedding, vocab, d)?;
        for name in weights.names() {
            if let (true, Some(shape)) = (self.ignores(name), weights.shape(name)) {
                weights.tensor(name, shape)?;
            }
        }
        if !self.layers.contains("{}") {
            return Err(bad(format!(
                "its recipe's layers are '{}', without a place for a number: {{}}",
                self.layers
            )));
        }
        let mut recorder = Recorder::default();
        let mut x = recorder.b.embed(embedding);
        for i in 0.. {
            let layer = weights.at(self.layers.replace("{}", &i.to_string()));
            if i > 0 && layer.names().next().is_none() {
                break;
            }
            x = recorder.chain(&self.layer, &layer, x)?;
        }
        let x = recorder.chain(&self.after, weights, x)?;
        recorder.is_head = true;
        let x = recorder.b.last(x);
        let x = recorder.chain(&self.last, weights, x)?;
        same_width(x, d)?;
        let head = match &self.head {
            Some(head) if weights.has(head) => weights.matrix(head, vocab, d)?,
            _ => embedding,
        };
        let logits = recorder.b.linear(x, head, None);
        let program = recorder.b.finish(logits);
        let uses = program.ops.iter().map(Op::weights);
        let (matrices, vectors): (Vec<_>, Vec<_>) = uses.unzip();
        let both = |w: &Weight| vectors.iter().flatten().any(|v| v.id == w.id);
        match matrices.into_iter().flatten().find(both) {
            Some(w) => Err(bad(format!(
                "its recipe uses one tensor, of {} by {}, as a matrix and as a vector",
                w.rows, w.cols
            ))),
            None => Ok(program),
        }
    }

    fn ignores(&self, name: &str) -> bool {
        self.ignored.iter().any(|end| name.ends_with(end.as_str()))
    }
}

/// A program in the making.
#[derive(Default)]
struct Recorder {
    b: Builder,
    /// Whether what follows runs over the last token alone.
    is_head: bool,
    /// Cosines and sines of the position: how many, their period, and the activation.
    bases: Vec<(usize, f32, Act)>,
}

impl Recorder {
    fn chain(&mut self, parts: &[Part], scope: &Scope<'_>, x: Act) -> Result<Act> {
        parts
            .iter()
            .try_fold(x, |x, part| self.part(part, scope, x))
    }

    fn part(&mut self, part: &Part, scope: &Scope<'_>, x: Act) -> Result<Act> {
        match part {
            Part::Residual(parts) => {
                let y = self.chain(parts, scope, x)?;
                same_width(y, x.width)?;
                Ok(self.b.add(x, y))
            }
            Part::Norm(norm) => self.norm(norm, scope, x),
            Part::Linear(name) => self.linear(name, scope, x),
            Part::Conv(name) => self.conv(name, scope, x),
            Part::Function(function) => Ok(self.b.activate(x, None, function.op())),
            Part::Gated { gate, up, function } => {
                let gate = self.linear(gate, scope, x)?;
                let up = self.linear(up, scope, x)?;
                same_width(up, gate.width)?;
                Ok(self.b.activate(gate, Some(up), function.op()))
            }
            Part::Scale(factor) => match factors(scope, factor, None)? {
                Some(factors) if x.width.is_multiple_of(factors.w.cols) => {
                    Ok(self.b.scale(x, factors))
                }
                Some(factors) => Err(bad(format!(
                    "'{}' has {} factors for {} columns",
                    factor.name, factors.w.cols, x.width
                ))),
                None => Ok(x),
            },
            Part::Gate { by, of, range } => {
                let gates = self.chain(by, scope, x)?;
                let y = self.chain(of, scope, x)?;
                if !y.width.is_multiple_of(gates.width) {
                    return Err(bad(format!(
                        "{} gates for {} columns",
                        gates.width, y.width
                    )));
                }
                Ok(self.b.gate(y, gates, *range))
            }
            Part::Mix(mix) => self.mix(mix, scope, x),
            Part::Attention(attention) => self.attention(attention, scope, x),
        }
    }

    fn norm(&mut self, Norm { name, eps }: &Norm, scope: &Scope<'_>, x: Act) -> Result<Act> {
        let at = scope.at(name);
        if !at.has("bias") {
            return blocks::rms_norm(&mut self.b, scope, name, x, *eps);
        }
        let w = at.vector("weight", x.width)?;
        let bias = at.vector("bias", x.width)?;
        Ok(self.b.layer_norm(x, w, Some(bias), *eps))
    }

    fn linear(&mut self, name: &str, scope: &Scope<'_>, x: Act) -> Result<Act> {
        let at = scope.at(name);
        let w = match at.shape("weight") {
            Some(&[rows, cols, 1]) if cols == x.width => {
                let pointwise = at.tensor("weight", &[rows, cols, 1])?;
                at.join([pointwise.reshaped(rows.max(1))])?
            }
            Some(&[rows, _]) => at.matrix("weight", rows, x.width)?,
            // Says that it is missing, or what it is instead.
            _ => at.matrix("weight", 0, x.width)?,
        };
        let bias = at.has("bias").then(|| at.vector("bias", w.rows));
        Ok(self.b.linear(x, w, bias.transpose()?))
    }

    fn conv(&mut self, name: &str, scope: &Scope<'_>, x: Act) -> Result<Act> {
        self.not_in_the_head("a convolution")?;
        let at = scope.at(name);
        let taps = match at.shape("weight") {
            Some(&[_, 1, taps] | &[_, taps]) => taps,
            _ => 0,
        };
        let shape: &[usize] = match at.shape("weight") {
            Some([_, _]) => &[x.width, taps],
            _ => &[x.width, 1, taps],
        };
        let w = at.tensor("weight", shape)?.reshaped(1);
        let w = at.join([w])?;
        let bias = at.has("bias").then(|| at.vector("bias", x.width));
        let bias = bias.transpose()?;
        let cache = self.b.store(x);
        Ok(self.b.conv(cache, w, bias))
    }

    fn mix(&mut self, mix: &Mix, scope: &Scope<'_>, x: Act) -> Result<Act> {
        let logits = self.chain(&mix.router, scope, x)?;
        let n_paths = mix.paths.len();
        let top_k = mix.top_k.unwrap_or(n_paths);
        if logits.width != n_paths || !(1..=n_paths).contains(&top_k) || mix.temperature <= 0.0 {
            return Err(bad(format!(
                "a router with {} logits, temperature {} and top_k {top_k} for {n_paths} paths",
                logits.width, mix.temperature
            )));
        }
        let offset = match &mix.offset {
            Some(name) => vector(scope, name, Some(n_paths))?,
            None => None,
        };
        let mut paths = Vec::with_capacity(n_paths);
        for path in &mix.paths {
            let y = self.chain(path, scope, x)?;
            same_width(y, paths.first().map_or(y.width, |first: &Act| first.width))?;
            paths.push(y);
        }
        Ok(self.b.mix(logits, offset, mix.temperature, top_k, &paths))
    }

    fn not_in_the_head(&self, what: &str) -> Result<()> {
        if self.is_head {
            return Err(bad(format!(
                "its recipe has {what} behind the last layer, where there is one token alone"
            )));
        }
        Ok(())
    }
}

/// A learned vector, where the file has it.
fn factors(scope: &Scope<'_>, factor: &Factor, n: Option<usize>) -> Result<Option<Parameter>> {
    let w = vector(scope, &factor.name, n)?;
    Ok(w.map(|w| Parameter {
        w,
        map: factor.map.op(),
    }))
}

/// All numbers of a tensor of any shape as `[1, n]`, where the file has it.
fn vector(scope: &Scope<'_>, name: &str, n: Option<usize>) -> Result<Option<Weight>> {
    let Some(shape) = scope.shape(name) else {
        return Ok(None);
    };
    let slab = scope.tensor(name, shape)?;
    let found = slab.n_numbers();
    if found == 0 || n.is_some_and(|n| n != found) {
        return Err(Error::WeightShape {
            name: name.into(),
            expected: vec![n.unwrap_or(1)],
            got: shape.to_vec(),
        });
    }
    scope.join([slab.reshaped(1)]).map(Some)
}

fn same_width(x: Act, width: usize) -> Result<()> {
    if x.width == width {
        return Ok(());
    }
    Err(bad(format!(
        "its recipe adds {} columns to {width}",
        x.width
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_misspelt_part_is_refused() {
        let recipe = json!({"embedding": "e", "layers": "l.{}", "layer": [{"nrom": {"name": "n"}}], "final": []});
        let refusal = Recipe::read(&recipe, &json!({})).unwrap_err().to_string();
        assert!(refusal.contains("nrom"), "{refusal}");
    }
}
