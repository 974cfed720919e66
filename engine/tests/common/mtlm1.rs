//! The trained MTLM1, written under other conventions than its own.

use super::tensors::{Tensor, Tensors, neighbours_to_halves};
use serde_json::{Value, json};

/// One way to write the files.
#[derive(Debug, Clone, Copy)]
pub struct Convention {
    /// Neighbours are paired by the rotary positions.
    pub interleaved: bool,
    pub prefix: &'static str,
    /// Queries, keys and values in one matrix.
    pub fused: bool,
    /// The head is stored, though it is the embedding.
    pub lm_head: bool,
    pub keys: Keys,
}

/// Whose words config.json has.
#[derive(Debug, Clone, Copy)]
pub enum Keys {
    /// The training code's.
    Own,
    HuggingFace,
    Gpt,
    /// Says no more than the family's name.
    Silent,
}

impl Keys {
    pub fn config(self) -> Value {
        match self {
            Keys::Own => json!({"d_model": 128, "n_heads": 2, "n_layers": 3, "max_seq_len": 256}),
            Keys::HuggingFace => json!({
                "model_type": "mtlm", "hidden_size": 128, "num_attention_heads": 2, "num_hidden_layers": 3,
                "max_position_embeddings": 256, "tie_word_embeddings": true,
            }),
            Keys::Gpt => json!({"n_embd": 128, "n_head": 2, "n_layer": 3, "block_size": 256}),
            Keys::Silent => json!({"model_type": "mtlm1"}),
        }
    }
}

/// The committed file's tensors as this convention has them.
pub fn write(committed: &Tensors, c: &Convention) -> Tensors {
    let mut out = Tensors::new();
    for (name, tensor) in committed {
        let name = format!("{}{name}", c.prefix);
        if let Some(attention) = name.strip_suffix("qkv.weight") {
            let thirds = thirds(tensor, c.interleaved);
            if c.fused {
                let bytes = thirds.map(|third| third.bytes).concat();
                out.insert(
                    name,
                    Tensor {
                        bytes,
                        ..tensor.clone()
                    },
                );
            } else {
                for (letter, third) in ["q", "k", "v"].into_iter().zip(thirds) {
                    out.insert(format!("{attention}{letter}_proj.weight"), third);
                }
            }
        } else {
            if c.lm_head && name.ends_with("tok_emb.weight") {
                out.insert("lm_head.weight".into(), tensor.clone());
            }
            out.insert(name, tensor.clone());
        }
    }
    out
}

/// Queries, keys and values.
fn thirds(qkv: &Tensor, interleaved: bool) -> [Tensor; 3] {
    let rows = qkv.shape[0] / 3;
    std::array::from_fn(|i| {
        let bytes = qkv.bytes[i * rows * qkv.row_bytes()..][..rows * qkv.row_bytes()].to_vec();
        let third = Tensor::new(qkv.dtype, &[rows, qkv.shape[1]], bytes);
        if interleaved || i == 2 {
            third
        } else {
            third.reordered(neighbours_to_halves)
        }
    })
}
