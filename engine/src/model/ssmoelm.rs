//! SSMoELM: a mixture of small experts, packed by its author to 1 and 4 bits with a scale per row.
//!
//! Nothing but the weights and a tokenizer is published, so sizes follow from shapes, and what a tensor is
//! from its place in the tree of names: quantised or not, in a layer or not, and a few usual words. What no
//! shape tells is a switch ([`Conventions`]).

mod names;

use super::{
    Arch, Switch, bad, binary,
    blocks::{self, Experts},
};
use crate::{
    Error, Result,
    op::{Act, Function, Pairing, Rotary, Router, Score, Weight},
    program::{Builder, Program},
    weights::{
        Scope,
        slab::{Codes, Slab},
    },
};
use names::{Layer, Matrix, Mlp, Role, layer_of, role_of};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The registry's entry.
pub const ARCH: Arch = Arch {
    model_types: &["ssmoelm"],
    build,
    // Shapes say the same.
    ignores: |name| name.ends_with("__shape") || name.ends_with("__cols"),
    recognises: |weights| weights.names().any(|name| name.ends_with("__int4")),
    switches: |_| SWITCHES,
    ..Arch::NONE
};

/// Those first that most weights depend on.
const SWITCHES: &[Switch] = &[
    Switch {
        key: "nibbles_offset",
        values: &["8", "7", "0"],
    },
    binary("nibbles_low_first", true),
    binary("bits_msb_first", true),
    binary("bits_one_is_plus", true),
    binary("gate_first", true),
    binary("rope_interleaved", false),
    binary("norm_topk_prob", true),
    Switch {
        key: "scoring_func",
        values: &["\"softmax\"", "\"sigmoid\""],
    },
    Switch {
        key: "embedding_offset",
        values: &["null", "4", "3"],
    },
    Switch {
        key: "rope_theta",
        values: &["10000.0", "100000.0", "500000.0", "1000000.0"],
    },
];

/// What shapes do not tell, with the readings that are likeliest.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
struct Conventions {
    head_dim: usize,
    rope_theta: f32,
    rope_interleaved: bool,
    rms_norm_eps: f32,
    num_experts_per_tok: usize,
    norm_topk_prob: bool,
    scoring_func: ScoringFunc,
    /// Of the matrices that are named gate and up, or that are fused, the first is what SiLU is applied to.
    gate_first: bool,
    /// The first of eight signs is a byte's highest bit, as NumPy packs.
    bits_msb_first: bool,
    /// A set bit is a positive weight.
    bits_one_is_plus: bool,
    /// The first of two nibbles is a byte's lower half.
    nibbles_low_first: bool,
    /// What is subtracted from a nibble; 0 stands for two's complement.
    nibbles_offset: u8,
    /// The same for the embedding, whose nibbles hold three bits in some files.
    embedding_offset: Option<u8>,
    /// Which stored layers there are, where some are run twice.
    layer_ids: Option<Vec<usize>>,
    /// The stored layer's id at each depth.
    pass_order: Option<Vec<usize>>,
}

/// How a router's logits become weights.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ScoringFunc {
    Softmax,
    Sigmoid,
}

impl Default for Conventions {
    fn default() -> Self {
        Self {
            head_dim: 64,
            rope_theta: 10_000.0,
            rope_interleaved: false,
            rms_norm_eps: 1e-5,
            num_experts_per_tok: 2,
            norm_topk_prob: true,
            scoring_func: ScoringFunc::Softmax,
            gate_first: true,
            bits_msb_first: true,
            bits_one_is_plus: true,
            nibbles_low_first: true,
            nibbles_offset: 8,
            embedding_offset: None,
            layer_ids: None,
            pass_order: None,
        }
    }
}

fn build(config: &Value, weights: &Scope<'_>) -> Result<Program> {
    let conventions = Conventions::deserialize(config).map_err(|e| bad(e.to_string()))?;
    let file = File::read(weights, &conventions)?;
    let mut b = Builder::new();
    let embedding = file.embedding()?;
    let d = embedding.cols;
    let mut x = b.embed(embedding);
    for layer in file.passes()? {
        let h = file.norm(&mut b, x, layer.get(Role::AttentionNorm)?)?;
        let h = file.attention(&mut b, h, layer)?;
        x = b.add(x, h);
        let h = file.norm(&mut b, x, layer.get(Role::MlpNorm)?)?;
        let routed = file.mixture(&mut b, h, layer)?;
        let shared = file.shared(&mut b, h, layer)?;
        let h = b.add(routed, shared);
        x = b.add(x, h);
    }
    let x = b.last(x);
    // The published counts leave open whether the last norm has weights.
    let x = match &file.final_norm {
        Some(name) => file.norm(&mut b, x, name)?,
        None => b.rms_norm(x, None, conventions.rms_norm_eps),
    };
    assert_eq!(x.width, d, "the residual stream keeps its width");
    let logits = b.linear(x, embedding, None);
    Ok(b.finish(logits))
}

/// The tensors of a file by what they are.
struct File<'f> {
    weights: &'f Scope<'f>,
    conventions: &'f Conventions,
    embedding: String,
    final_norm: Option<String>,
    layers: BTreeMap<usize, Layer>,
}

impl<'f> File<'f> {
    fn read(weights: &'f Scope<'f>, conventions: &'f Conventions) -> Result<Self> {
        let mut layers = BTreeMap::new();
        let (mut embedding, mut final_norm) = (None, None);
        for name in weights.names() {
            let key = match name.split_once("__") {
                Some((key, "bin" | "int4")) => key,
                Some(_) => continue,
                None => name,
            };
            let is_packed = key != name;
            let Some((number, path)) = layer_of(key) else {
                // Outside of layers there are the embedding, which is also the head, and the last norm.
                let place = if is_packed {
                    &mut embedding
                } else {
                    &mut final_norm
                };
                if place.replace(key.to_owned()).is_some() {
                    return Err(bad(format!(
                        "it cannot be told what the weight '{name}' is"
                    )));
                }
                continue;
            };
            let n_dims = weights.shape(name).map_or(0, <[usize]>::len);
            let role = role_of(&path, is_packed, n_dims)
                .ok_or_else(|| bad(format!("it cannot be told what the weight '{name}' is")))?;
            let layer = layers.entry(number).or_insert_with(|| Layer {
                number,
                tensors: BTreeMap::new(),
            });
            layer.tensors.insert(role, key.to_owned());
        }
        let embedding = embedding.ok_or_else(|| Error::MissingWeight {
            name: "embedding".into(),
            shape: vec![],
            file: "the model file".into(),
        })?;
        Ok(Self {
            weights,
            conventions,
            embedding,
            final_norm,
            layers,
        })
    }

    /// The stored layers in the order of execution.
    fn passes(&self) -> Result<Vec<&Layer>> {
        let stored: Vec<&Layer> = self.layers.values().collect();
        let Some(order) = &self.conventions.pass_order else {
            return Ok(stored);
        };
        let numbers = || stored.iter().map(|layer| layer.number).collect();
        let ids = self.conventions.layer_ids.clone().unwrap_or_else(numbers);
        let find = |id: &usize| {
            let at = ids.iter().position(|known| known == id)?;
            stored.get(at).copied()
        };
        order
            .iter()
            .map(|id| {
                find(id).ok_or_else(|| {
                    bad(format!(
                        "pass_order runs layer {id}, and the stored ones are {ids:?}"
                    ))
                })
            })
            .collect()
    }

    fn embedding(&self) -> Result<Weight> {
        let offset = self
            .conventions
            .embedding_offset
            .unwrap_or(self.conventions.nibbles_offset);
        self.weights.join([self.packed(&self.embedding, offset)?])
    }

    fn norm(&self, b: &mut Builder, x: Act, name: &str) -> Result<Act> {
        let w = self.weights.vector(name, x.width)?;
        Ok(b.rms_norm(x, Some(w), self.conventions.rms_norm_eps))
    }

    fn linear(&self, b: &mut Builder, x: Act, key: &str) -> Result<Act> {
        let w = self.weights.join(self.slabs([key], x.width)?)?;
        Ok(b.linear(x, w, None))
    }

    fn attention(&self, b: &mut Builder, x: Act, layer: &Layer) -> Result<Act> {
        let head_dim = self.conventions.head_dim;
        let q = self.linear(b, x, layer.get(Role::Query)?)?;
        let k = self.linear(b, x, layer.get(Role::Key)?)?;
        let v = self.linear(b, x, layer.get(Role::Value)?)?;
        let heads = blocks::heads_within(q.width, k.width, head_dim)?;
        if k.width != v.width {
            return Err(bad(format!(
                "layer {}'s keys and values are of several widths",
                layer.number
            )));
        }
        let rotary = Rotary {
            head_dim,
            pairing: if self.conventions.rope_interleaved {
                Pairing::Interleaved
            } else {
                Pairing::Half
            },
            frequencies: blocks::frequencies(head_dim, self.conventions.rope_theta),
        };
        let y = blocks::attend(b, [q, k, v], heads, &rotary);
        self.linear(b, y, layer.get(Role::Output)?)
    }

    /// `x[n, d] → [n, d]` through the routed experts.
    fn mixture(&self, b: &mut Builder, x: Act, layer: &Layer) -> Result<Act> {
        let name = layer.get(Role::Router)?;
        let shape = self.weights.shape(name).unwrap_or_default();
        let router = match *shape {
            [n, d] if d == x.width => self.weights.matrix(name, n, d)?,
            [d, n] => self
                .weights
                .join([self.weights.tensor(name, &[d, n])?.transposed()])?,
            _ => return Err(bad(format!("the router '{name}' is no matrix"))),
        };
        if router.cols != x.width {
            return Err(bad(format!("the router '{name}' is of another width")));
        }
        let n = router.rows;
        let top_k = self.conventions.num_experts_per_tok;
        if !(1..=n).contains(&top_k) {
            return Err(bad(format!("{top_k} of {n} experts cannot be chosen")));
        }
        let [gate, up, down] = self.mlp(layer, Mlp::Routed(n), x.width)?;
        let logits = b.linear(x, router, None);
        let router = Router {
            score: match self.conventions.scoring_func {
                ScoringFunc::Softmax => Score::Softmax,
                ScoringFunc::Sigmoid => Score::Sigmoid,
            },
            top_k,
            renormalise: self.conventions.norm_topk_prob,
        };
        let experts = Experts {
            n,
            gate: Some(gate),
            up,
            down,
            function: Function::Silu,
        };
        Ok(blocks::mixture(b, x, logits, None, router, &experts))
    }

    fn shared(&self, b: &mut Builder, x: Act, layer: &Layer) -> Result<Act> {
        let [gate, up, down] = self.mlp(layer, Mlp::Shared, x.width)?;
        let gate = b.linear(x, gate, None);
        let up = b.linear(x, up, None);
        let h = b.activate(gate, Some(up), Function::Silu);
        Ok(b.linear(h, down, None))
    }

    /// Gate `[n · hidden, d]`, up `[n · hidden, d]` and down `[n · d, hidden]` of one MLP or `n` experts.
    fn mlp(&self, layer: &Layer, mlp: Mlp, d: usize) -> Result<[Weight; 3]> {
        let n = mlp.count();
        let slabs = |matrix, cols| self.slabs(layer.matrices(mlp, matrix)?, cols);
        let [gate, up] = if layer.is_fused(mlp) {
            self.halves(slabs(Matrix::GateUp, d)?, n)?
        } else {
            [
                self.weights.join(slabs(Matrix::Gate, d)?)?,
                self.weights.join(slabs(Matrix::Up, d)?)?,
            ]
        };
        let down = self.weights.join(slabs(Matrix::Down, gate.rows / n)?)?;
        if gate.rows != up.rows || !gate.rows.is_multiple_of(n) || down.rows != n * d {
            let number = layer.number;
            return Err(bad(format!("layer {number}'s experts do not fit together")));
        }
        if self.conventions.gate_first {
            Ok([gate, up, down])
        } else {
            Ok([up, gate, down])
        }
    }

    /// The gates and the up matrices of `n` experts, whose rows are in turn one's gate and its up matrix.
    fn halves(&self, both: Vec<Slab<'f>>, n: usize) -> Result<[Weight; 2]> {
        let rows: usize = both.iter().map(|slab| slab.shape().0).sum();
        let hidden = rows / (2 * n);
        if hidden == 0 || both.iter().any(|slab| slab.shape().0 % (2 * hidden) != 0) {
            return Err(bad(format!(
                "{rows} rows are not the gates and up matrices of {n} experts"
            )));
        }
        let half = |i: usize| {
            let cut = |slab: &Slab<'f>| {
                let starts = (i * hidden..slab.shape().0).step_by(2 * hidden);
                let pieces = starts.map(|start| slab.rows(start..start + hidden));
                pieces.collect::<Vec<_>>()
            };
            self.weights.join(both.iter().flat_map(cut))
        };
        Ok([half(0)?, half(1)?])
    }

    /// Quantised tensors that are `cols` wide.
    fn slabs<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k str>,
        cols: usize,
    ) -> Result<Vec<Slab<'f>>> {
        let slabs = keys
            .into_iter()
            .map(|key| self.packed(key, self.conventions.nibbles_offset));
        let slabs = slabs.collect::<Result<Vec<_>>>()?;
        match slabs.iter().find(|slab| slab.shape().1 != cols) {
            None => Ok(slabs),
            Some(other) => Err(bad(format!(
                "a weight of {:?} stands where rows of {cols} are needed",
                other.shape()
            ))),
        }
    }

    /// A quantised tensor: `key__bin` or `key__int4`, and `key__scale`.
    fn packed(&self, key: &str, offset: u8) -> Result<Slab<'f>> {
        let Conventions {
            bits_msb_first: msb_first,
            bits_one_is_plus: one_is_plus,
            nibbles_low_first: low_first,
            ..
        } = *self.conventions;
        let bits = Codes::Bits {
            msb_first,
            one_is_plus,
        };
        let nibbles = Codes::Nibbles {
            low_first,
            offset: (offset > 0).then_some(offset),
        };
        let names = [
            (format!("{key}__bin"), bits),
            (format!("{key}__int4"), nibbles),
        ];
        let Some((name, codes)) = names.iter().find(|(name, _)| self.weights.has(name)) else {
            return Err(Error::MissingWeight {
                name: names[1].0.clone(),
                shape: vec![],
                file: "the model file".into(),
            });
        };
        let whole = |name: &str| {
            let shape = self.weights.shape(name).unwrap_or_default();
            self.weights.tensor(name, shape)
        };
        let (quants, scales) = (whole(name)?, whole(&format!("{key}__scale"))?);
        let (rows, n_bytes) = (scales.n_numbers(), quants.n_numbers());
        if rows == 0 || !n_bytes.is_multiple_of(rows) {
            return Err(bad(format!(
                "'{name}' has {n_bytes} bytes for {rows} scales"
            )));
        }
        Ok(quants.reshaped(rows).scaled(&scales, *codes))
    }
}
