//! MoA-Metric-LM (`moa_metric`): every layer blends a causal convolution, attention by distances, an MLP and
//! multi-query attention, token by token, and so does its feed-forward part with three branches.
//!
//! Neither its code nor the names in its files were ever published, so the forward pass is data: a
//! [recipe](super::recipe) maps a file's names to parts and formulas. A file is run by the first recipe that
//! takes every one of its tensors; one that no recipe fits is refused. Beside a file a visitor may lay a recipe
//! of their own, in thimble.json under `recipe`.
//!
//! What the cards leave open is read so, in models/recipes/moa_metric.json (another recipe may say otherwise):
//!
//! - scores: L2 `−α‖q − k‖² / √head_dim`, cosine `α·q·k / (‖q‖‖k‖)`, diagonal Mahalanobis
//!   `−α Σ_c m_c (q_c − k_c)²`, where `α` (per head) and `m` are the softplus of what is stored;
//! - balls: a key, after its rotation, farther (Euclidean) than a query head's radius from that head's origin
//!   does not count; where none does, all count the same;
//! - BlackHoleRoPE: angles `pos · theta^(−2i/head_dim) + phase_i(pos)`, the same for all heads, pairs half a head
//!   apart; values times `min + (max − min) · sigmoid(energy(pos))` per value head; phases and energies are
//!   linear in `cos(2π r pos / P)` for `r = 1 ..= R`, then the sines, `P` being `max_position`. The "discrepancy"
//!   signal is described nowhere: a file with tensors for it is refused;
//! - after attention, `down(silu(gate(x)) · up(x))` in place of an output matrix;
//! - convolutions: depthwise, SiLU, pointwise; channel mixing: GELU (by erf) between two matrices;
//! - routers: two matrices around SiLU, `softmax((logits + offset) / temperature)`, of which the top k are kept
//!   and divided by their sum; HyperFFN keeps two of its three branches;
//! - feature gates: `2 · sigmoid` of a vector per path; layer scale: a vector per residual branch;
//! - norms before each half: LayerNorm where there is a bias, otherwise RMSNorm, eps 1e-5.

use super::{Arch, bad, recipe::Recipe};
use crate::{Result, program::Program, weights::Scope};
use serde_json::Value;

/// The registry's entry.
pub const ARCH: Arch = Arch {
    model_types: &["moa_metric"],
    build,
    ..Arch::NONE
};

/// `(name, JSON)`
const RECIPES: &[(&str, &str)] = &[(
    "moa_metric",
    include_str!("../../../models/recipes/moa_metric.json"),
)];

fn build(config: &Value, weights: &Scope<'_>) -> Result<Program> {
    if let Some(own) = config.get("recipe") {
        return Recipe::read(own, config)?.record(weights);
    }
    let mut refusals = Vec::new();
    for (name, text) in RECIPES {
        let recipe = serde_json::from_str(text).expect("recipes of ours are JSON");
        let fits = Recipe::read(&recipe, config).and_then(|recipe| {
            weights.rehearse(|weights| recipe.record(weights))?;
            Ok(recipe)
        });
        match fits {
            Ok(recipe) => return recipe.record(weights),
            Err(refusal) => refusals.push(format!("'{name}': {refusal}")),
        }
    }
    Err(bad(format!(
        "no recipe fits this file ({}); how its names make a model may be said in thimble.json, under 'recipe'",
        refusals.join("; ")
    )))
}
