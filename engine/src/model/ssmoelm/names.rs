//! What a tensor is by its name: the number of its layer, and a few usual words.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// A layer's tensors; the number only serves messages.
pub struct Layer {
    pub number: usize,
    pub tensors: BTreeMap<Role, String>,
}

/// What a tensor of a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    AttentionNorm,
    MlpNorm,
    Query,
    Key,
    Value,
    Output,
    Router,
    /// Of the expert of this number; of all of them below one another where there is no number.
    Expert(Option<usize>, Matrix),
    Shared(Matrix),
}

/// A matrix of a gated MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Matrix {
    Gate,
    Up,
    /// An expert's gate and its up matrix below one another.
    GateUp,
    Down,
}

/// Whose matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mlp {
    Shared,
    /// So many experts.
    Routed(usize),
}

impl Mlp {
    /// How many MLPs these are.
    pub fn count(self) -> usize {
        match self {
            Mlp::Shared => 1,
            Mlp::Routed(n) => n,
        }
    }
}

impl Layer {
    /// The name of a tensor that must be there.
    pub fn get(&self, role: Role) -> Result<&str> {
        let name = self.tensors.get(&role).map(String::as_str);
        name.ok_or_else(|| Error::MissingWeight {
            name: format!("{role:?} of layer {}", self.number),
            shape: vec![],
            file: "the model file".into(),
        })
    }

    /// The tensors that make up one matrix of an MLP, or of all experts in their order.
    pub fn matrices(&self, mlp: Mlp, matrix: Matrix) -> Result<Vec<&str>> {
        match mlp {
            Mlp::Shared => Ok(vec![self.get(Role::Shared(matrix))?]),
            Mlp::Routed(_) if self.has(Role::Expert(None, matrix)) => {
                Ok(vec![self.get(Role::Expert(None, matrix))?])
            }
            Mlp::Routed(n) => (0..n)
                .map(|i| self.get(Role::Expert(Some(i), matrix)))
                .collect(),
        }
    }

    /// Whether gate and up are one tensor.
    pub fn is_fused(&self, mlp: Mlp) -> bool {
        self.matrices(mlp, Matrix::GateUp).is_ok()
    }

    fn has(&self, role: Role) -> bool {
        self.tensors.contains_key(&role)
    }
}

/// The number of the layer that a name lies in, and the words after it.
pub fn layer_of(name: &str) -> Option<(usize, Vec<String>)> {
    let words: Vec<&str> = name.split('.').collect();
    let at = words
        .iter()
        .position(|word| word.parse::<usize>().is_ok())?;
    let number = words[at].parse().ok()?;
    let path = words[at + 1..]
        .iter()
        .filter(|word| **word != "weight")
        .map(|word| word.to_lowercase());
    Some((number, path.collect()))
}

/// What a layer's tensor of `n_dims` dimensions is, by the words after the layer's number.
pub fn role_of(path: &[String], is_packed: bool, n_dims: usize) -> Option<Role> {
    let all = path.join(".");
    if !is_packed {
        let second = [
            "ffn", "mlp", "moe", "post", "norm2", "norm_2", "ln2", "ln_2",
        ];
        return Some(match n_dims {
            1 if second.iter().any(|word| all.contains(word)) => Role::MlpNorm,
            1 => Role::AttentionNorm,
            _ => Role::Router,
        });
    }
    let mut words = path.iter().rev();
    let last = words.find(|word| word.parse::<usize>().is_err())?;
    let last = last.trim_end_matches("_proj");
    let matrix = match last {
        "gate" | "w1" => Some(Matrix::Gate),
        "up" | "w3" => Some(Matrix::Up),
        "gate_up" | "w13" => Some(Matrix::GateUp),
        "down" | "w2" => Some(Matrix::Down),
        _ => None,
    };
    if let Some(matrix) = matrix {
        let number = path.iter().find_map(|word| word.parse().ok());
        return Some(if all.contains("shared") {
            Role::Shared(matrix)
        } else {
            Role::Expert(number, matrix)
        });
    }
    match last {
        "q" | "wq" | "query" => Some(Role::Query),
        "k" | "wk" | "key" => Some(Role::Key),
        "v" | "wv" | "value" => Some(Role::Value),
        "o" | "wo" | "out" | "output" => Some(Role::Output),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_are_known() {
        let packed = [
            ("layers.3.attn.q_proj.weight", Role::Query),
            ("blocks.3.attention.wk.weight", Role::Key),
            ("h.3.attn.value", Role::Value),
            ("model.layers.3.self_attn.o_proj.weight", Role::Output),
            (
                "layers.3.moe.experts.7.w2",
                Role::Expert(Some(7), Matrix::Down),
            ),
            (
                "layers.3.moe.gate_proj.7.weight",
                Role::Expert(Some(7), Matrix::Gate),
            ),
            (
                "layers.3.moe.switch_mlp.up_proj.weight",
                Role::Expert(None, Matrix::Up),
            ),
            (
                "layers.3.mlp.experts.gate_up_proj",
                Role::Expert(None, Matrix::GateUp),
            ),
            (
                "layers.3.mlp.shared_experts.0.gate_proj.weight",
                Role::Shared(Matrix::Gate),
            ),
        ];
        let plain = [
            ("layers.3.input_layernorm.weight", 1, Role::AttentionNorm),
            ("layers.3.post_attention_layernorm.weight", 1, Role::MlpNorm),
            ("blocks.3.ffn.gate.weight", 2, Role::Router),
        ];
        let packed = packed.map(|(name, role)| (name, true, 2, role));
        let plain = plain.map(|(name, n_dims, role)| (name, false, n_dims, role));
        for (name, is_packed, n_dims, role) in packed.into_iter().chain(plain) {
            let (number, path) = layer_of(name).unwrap();
            assert_eq!(number, 3, "{name}");
            assert_eq!(role_of(&path, is_packed, n_dims), Some(role), "{name}");
        }
        assert!(layer_of("embed.weight").is_none());
        let odd = ["adapter".to_owned()];
        assert_eq!(role_of(&odd, true, 2), None);
    }
}
