//! The words of a recipe, and its blanks.

use crate::{
    Result,
    model::bad,
    op::{self, Map},
};
use serde::Deserialize;
use serde_json::Value;

/// [`Map`] in a recipe's words.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FactorMap {
    #[default]
    Identity,
    Exp,
    Softplus,
    Gate,
}

/// [`op::Function`] in a recipe's words, which are transformers'.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Function {
    Silu,
    Gelu,
    GeluPytorchTanh,
    Relu,
    ReluSquared,
    Sigmoid,
}

impl Function {
    pub(super) fn op(self) -> op::Function {
        match self {
            Function::Silu => op::Function::Silu,
            Function::Gelu => op::Function::GeluErf,
            Function::GeluPytorchTanh => op::Function::Gelu,
            Function::Relu => op::Function::Relu,
            Function::ReluSquared => op::Function::ReluSquared,
            Function::Sigmoid => op::Function::Sigmoid,
        }
    }
}

impl FactorMap {
    pub(super) fn op(self) -> Map {
        match self {
            FactorMap::Identity => Map::Identity,
            FactorMap::Exp => Map::Exp,
            FactorMap::Softplus => Map::Softplus,
            FactorMap::Gate => Map::Gate,
        }
    }
}

/// The recipe with `"$key"` and `"$key|default"` replaced by config.json's values.
pub(super) fn filled_in(recipe: &Value, config: &Value) -> Result<Value> {
    Ok(match recipe {
        Value::String(text) => match text.strip_prefix('$') {
            Some(asked) => asked_for(asked, config)?,
            None => recipe.clone(),
        },
        Value::Array(items) => {
            let items = items.iter().map(|item| filled_in(item, config));
            Value::Array(items.collect::<Result<_>>()?)
        }
        Value::Object(members) => {
            let filled = |(key, value): (&String, &Value)| -> Result<_> {
                Ok((key.clone(), filled_in(value, config)?))
            };
            Value::Object(members.iter().map(filled).collect::<Result<_>>()?)
        }
        _ => recipe.clone(),
    })
}

fn asked_for(asked: &str, config: &Value) -> Result<Value> {
    let (key, default) = match asked.split_once('|') {
        Some((key, default)) => (key, Some(default)),
        None => (asked, None),
    };
    match (config.get(key), default) {
        (Some(value), _) if !value.is_null() => Ok(value.clone()),
        (_, Some(text)) => {
            Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.into())))
        }
        (_, None) => Err(bad(format!("its recipe needs the key '{key}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_filled_in() {
        let recipe = json!(["$a", {"b": "$b|2.5"}, "$c|l2", "plain", 3]);
        let filled = filled_in(&recipe, &json!({"a": true, "b": null})).unwrap();
        assert_eq!(filled, json!([true, {"b": 2.5}, "l2", "plain", 3]));
        let refusal = filled_in(&json!("$d"), &json!({})).unwrap_err();
        assert!(refusal.to_string().contains("'d'"), "{refusal}");
    }
}
