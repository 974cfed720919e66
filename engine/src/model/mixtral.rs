//! Mixtral (Jiang et al. 2024), Llama with a mixture of experts in place of the MLP, and neo-3, which has its
//! own names and some dense layers. What a layer is follows from the names that it has.

use super::{
    Arch, Switch, bad, binary,
    blocks::{self, Experts},
    llama,
};
use crate::{
    Result,
    op::{Act, Function, Router, Score},
    program::{Builder, Program},
    weights::{Scope, slab::Slab},
};
use serde::Deserialize;
use serde_json::Value;

/// The registry's entry.
pub const ARCH: Arch = Arch {
    model_types: &["mixtral"],
    build,
    ignores: llama::ARCH.ignores,
    switches: |weights| {
        let first = |name: &str| {
            let layers = weights.at("model.layers");
            let found = layers.names().find(|key| key.ends_with(name))?;
            layers.shape(found).map(|shape| shape.to_vec())
        };
        match (first("experts.0.fc1.weight"), first("experts.0.fc2.weight")) {
            (Some(fc1), Some(fc2)) if fc1.first() == fc2.last() => FC_FUNCTION,
            (Some(_), Some(_)) => FC_GATE,
            _ => &[],
        }
    },
    ..Arch::NONE
};

const FC_FUNCTION: &[Switch] = &[Switch {
    key: "fc_function",
    values: &["\"silu\"", "\"gelu\"", "\"relu\"", "\"relu_squared\""],
}];
const FC_GATE: &[Switch] = &[binary("fc_gate_last", false)];

/// What config.json has beside [`llama::Config`].
#[derive(Debug, Deserialize)]
struct Config {
    /// Mixtral's own default.
    #[serde(default = "two")]
    num_experts_per_tok: usize,
    /// Ours: neo-3's function where `fc1` is not gated.
    #[serde(default)]
    fc_function: FcFunction,
    /// Ours: which half of neo-3's `fc1` is the gate.
    #[serde(default)]
    fc_gate_last: bool,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FcFunction {
    #[default]
    Silu,
    Gelu,
    Relu,
    ReluSquared,
}

fn two() -> usize {
    2
}

fn build(config: &Value, weights: &Scope<'_>) -> Result<Program> {
    let base = llama::Config::read(config)?;
    let hidden = base.expected.intermediate_size;
    let config = Config::deserialize(config).map_err(|e| bad(e.to_string()))?;
    llama::decoder(&base, weights, &mut |b, layer, x| {
        let mlp = layer.at("mlp");
        if mlp.has("gate_proj.weight") {
            return blocks::gated_mlp(b, &mlp, x, hidden, Function::Silu);
        }
        let moe = layer.at("block_sparse_moe");
        if moe.has("gate.weight") {
            return routed(b, &moe, "gate", x, &config, |n| {
                separate(&moe.at("experts"), n, hidden, x.width)
            });
        }
        if mlp.has("router.weight") {
            return routed(b, &mlp, "router", x, &config, |n| {
                fully_connected(&mlp.at("experts"), n, x.width, &config)
            });
        }
        routed(b, &mlp, "gate", x, &config, |n| {
            fused(&mlp.at("experts"), n, hidden, x.width)
        })
    })
}

/// `x[n, d] → [n, d]` by the router `name` and the experts that `experts(n_experts)` finds.
fn routed(
    b: &mut Builder,
    scope: &Scope<'_>,
    name: &str,
    x: Act,
    config: &Config,
    experts: impl FnOnce(usize) -> Result<Experts>,
) -> Result<Act> {
    let [n_experts, _] = scope.sizes(&format!("{name}.weight"), [0, x.width])?;
    let top_k = config.num_experts_per_tok;
    if !(1..=n_experts).contains(&top_k) {
        return Err(bad(format!(
            "num_experts_per_tok is {top_k}, and the router knows {n_experts} experts"
        )));
    }
    let logits = blocks::linear(b, scope, name, x, n_experts)?;
    let router = Router {
        score: Score::Softmax,
        top_k,
        renormalise: true,
    };
    let experts = experts(n_experts)?;
    Ok(blocks::mixture(b, x, logits, None, router, &experts))
}

/// transformers 4: `N.w1` gate, `N.w3` up (`[hidden, d]`), `N.w2` down (`[d, hidden]`).
fn separate(scope: &Scope<'_>, n: usize, hidden: usize, d: usize) -> Result<Experts> {
    let [hidden, _] = scope.at(0).sizes("w1.weight", [hidden, d])?;
    let all = |name: &str, rows, cols| {
        let each = (0..n).map(|i| scope.at(i).tensor(&format!("{name}.weight"), &[rows, cols]));
        scope.join(each.collect::<Result<Vec<_>>>()?)
    };
    Ok(Experts {
        n,
        gate: Some(all("w1", hidden, d)?),
        up: all("w3", hidden, d)?,
        down: all("w2", d, hidden)?,
        function: Function::Silu,
    })
}

/// transformers 5: `gate_up_proj[n, 2 · hidden, d]`, the gate first, and `down_proj[n, d, hidden]`.
fn fused(scope: &Scope<'_>, n: usize, hidden: usize, d: usize) -> Result<Experts> {
    let [_, _, hidden] = scope.sizes("down_proj", [n, d, hidden])?;
    let both = hidden.saturating_mul(2);
    let gate_up = scope.tensor("gate_up_proj", &[n, both, d])?;
    let down = scope.tensor("down_proj", &[n, d, hidden])?;
    let half = |second: usize| {
        let first = |i: usize| (2 * i + second) * hidden;
        scope.join((0..n).map(|i| gate_up.rows(first(i)..first(i) + hidden)))
    };
    Ok(Experts {
        n,
        gate: Some(half(0)?),
        up: half(1)?,
        down: scope.join([down])?,
        function: Function::Silu,
    })
}

/// neo-3: `N.fc1` and `N.fc2[d, hidden]`; `fc1` has `hidden` rows, or twice as many where it is gated.
fn fully_connected(scope: &Scope<'_>, n: usize, d: usize, config: &Config) -> Result<Experts> {
    let [rows, _] = scope.at(0).sizes("fc1.weight", [0, d])?;
    let [_, hidden] = scope.at(0).sizes("fc2.weight", [d, 0])?;
    let each = |name: &str, shape: [usize; 2]| -> Result<Vec<Slab<'_>>> {
        (0..n)
            .map(|i| scope.at(i).tensor(&format!("{name}.weight"), &shape))
            .collect()
    };
    let first = each("fc1", [rows, d])?;
    let down = scope.join(each("fc2", [d, hidden])?)?;
    if rows == 2 * hidden {
        let half = |last: bool| {
            let start = if last { hidden } else { 0 };
            scope.join(first.iter().map(|slab| slab.rows(start..start + hidden)))
        };
        return Ok(Experts {
            n,
            gate: Some(half(config.fc_gate_last)?),
            up: half(!config.fc_gate_last)?,
            down,
            function: Function::Silu,
        });
    }
    if rows != hidden {
        return Err(bad(format!(
            "its experts' fc1 has {rows} rows where fc2 has {hidden} columns"
        )));
    }
    Ok(Experts {
        n,
        gate: None,
        up: scope.join(first)?,
        down,
        function: match config.fc_function {
            FcFunction::Silu => Function::Silu,
            FcFunction::Gelu => Function::Gelu,
            FcFunction::Relu => Function::Relu,
            FcFunction::ReluSquared => Function::ReluSquared,
        },
    })
}
