//! The architecture families. Each is one file that reads a config and records a forward pass; nothing
//! here knows a format, a backend or a device.

pub mod blocks;
pub mod llama;
mod rope_scaling;

use crate::{
    Error, Result,
    program::Program,
    weights::{Scope, metadata::Metadata},
};
use serde_json::Value;

/// One architecture family.
#[derive(Debug)]
pub struct Arch {
    /// The `model_type`s of config.json that it runs.
    pub model_types: &'static [&'static str],
    /// Records the forward pass from config.json's values and the weights' Hugging Face names.
    pub build: fn(&Value, &Scope<'_>) -> Result<Program>,
    /// Tensors that published files carry and the forward pass does not need.
    pub ignores: fn(&str) -> bool,
    /// How a GGUF file says the same.
    pub gguf: Gguf,
}

/// A family's GGUF dialect.
#[derive(Debug)]
pub struct Gguf {
    /// `general.architecture`.
    pub architecture: &'static str,
    /// The metadata as config.json would have it.
    pub config: fn(&Metadata) -> Result<Value>,
    /// A tensor's Hugging Face name; `None` for one that has no counterpart there.
    pub rename: fn(&str) -> Option<String>,
}

/// Every family. A new one is a file, and a line here.
pub const ARCHS: &[Arch] = &[llama::ARCH];

/// The family that a config.json names.
///
/// # Errors
/// [`Error::BadConfig`] when it names none, [`Error::UnsupportedModel`] when no family answers to it.
pub fn arch_of_config(config: &Value) -> Result<&'static Arch> {
    let model_type = config
        .get("model_type")
        .and_then(Value::as_str)
        .ok_or_else(|| Error::BadConfig {
            file: "config.json".into(),
            problem: "it does not name a 'model_type'".into(),
        })?;
    let found = ARCHS
        .iter()
        .find(|arch| arch.model_types.contains(&model_type));
    found.ok_or_else(|| unsupported(model_type))
}

/// The family that a GGUF file names.
///
/// # Errors
/// As [`arch_of_config`].
pub fn arch_of_gguf(metadata: &Metadata) -> Result<&'static Arch> {
    let architecture = metadata.str("general.architecture")?;
    let found = ARCHS
        .iter()
        .find(|arch| arch.gguf.architecture == architecture);
    found.ok_or_else(|| unsupported(architecture))
}

fn unsupported(model_type: &str) -> Error {
    let known = ARCHS
        .iter()
        .flat_map(|arch| arch.model_types)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    Error::UnsupportedModel {
        model_type: model_type.into(),
        known,
    }
}
