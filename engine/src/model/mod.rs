//! The architecture families. Each is one file that reads a config and records a forward pass; nothing
//! here knows a format, a backend or a device.

pub mod blocks;
pub mod llama;
pub mod metis;
pub mod mixtral;
pub mod moa;
pub mod mtlm;
pub mod recipe;
mod rope_scaling;
pub mod ssmoelm;

use crate::{
    Error, Result,
    program::Program,
    weights::{Scope, metadata::Metadata},
};
use serde_json::Value;

/// One architecture family.
#[derive(Debug)]
pub struct Arch {
    /// The `model_type`s of config.json that it runs; the first is its name.
    pub model_types: &'static [&'static str],
    /// Records the forward pass from config.json's values and the weights' names.
    pub build: fn(&Value, &Scope<'_>) -> Result<Program>,
    /// Tensors that published files carry and the forward pass does not need.
    pub ignores: fn(&str) -> bool,
    /// Whether these weights are the family's, where config.json is missing or names a type of its author's.
    pub recognises: fn(&Scope<'_>) -> bool,
    /// What these files leave open, to be found by calibration.
    pub switches: fn(&Scope<'_>) -> &'static [Switch],
    /// How a GGUF file says the same; [`None`] where no such files exist.
    pub gguf: Option<Gguf>,
}

impl Arch {
    /// What a family need not say.
    const NONE: Arch = Arch {
        model_types: &[],
        build: |_, _| Err(bad("no such family".into())),
        ignores: |_| false,
        recognises: |_| false,
        switches: |_| &[],
        gguf: None,
    };
}

/// A convention that neither shapes nor config.json tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch {
    /// The key under which config.json, or a sidecar, may say it.
    pub key: &'static str,
    /// What it may be, as JSON; the likeliest first.
    pub values: &'static [&'static str],
}

impl Switch {
    /// The `i`-th of its values.
    pub fn value(&self, i: usize) -> Value {
        serde_json::from_str(self.values[i]).expect("values are JSON")
    }
}

/// True or false, one of which is likelier.
const fn binary(key: &'static str, likelier: bool) -> Switch {
    Switch {
        key,
        values: if likelier {
            &["true", "false"]
        } else {
            &["false", "true"]
        },
    }
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
pub const ARCHS: &[Arch] = &[
    llama::ARCH,
    mixtral::ARCH,
    ssmoelm::ARCH,
    metis::ARCH,
    mtlm::ARCH,
    moa::ARCH,
];

/// The family that config.json names, or whose weights these are.
///
/// # Errors
/// [`Error::UnsupportedModel`] when no family answers to it, [`Error::BadConfig`] when there is no name.
pub fn arch_of_files(config: &Value, weights: &Scope<'_>) -> Result<&'static Arch> {
    let model_type = config.get("model_type").and_then(Value::as_str);
    let named = |arch: &&Arch| model_type.is_some_and(|t| arch.model_types.contains(&t));
    let found = ARCHS
        .iter()
        .find(named)
        .or_else(|| ARCHS.iter().find(|arch| (arch.recognises)(weights)));
    match (found, model_type) {
        (Some(arch), _) => Ok(arch),
        (None, Some(model_type)) => Err(unsupported(model_type)),
        (None, None) => Err(Error::BadConfig {
            file: "config.json".into(),
            problem: "it is missing or does not name a 'model_type', and the weights' names are of no known model".into(),
        }),
    }
}

/// The family that a GGUF file names, and its dialect.
///
/// # Errors
/// As [`arch_of_files`].
pub fn arch_of_gguf(metadata: &Metadata) -> Result<(&'static Arch, &'static Gguf)> {
    let architecture = metadata.str("general.architecture")?;
    ARCHS
        .iter()
        .find_map(|arch| {
            let gguf = arch.gguf.as_ref()?;
            (gguf.architecture == architecture).then_some((arch, gguf))
        })
        .ok_or_else(|| unsupported(architecture))
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

fn bad(problem: String) -> Error {
    Error::BadConfig {
        file: "config.json".into(),
        problem,
    }
}
