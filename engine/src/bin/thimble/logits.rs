//! The numbers behind the next token, for comparing with another program's.

use crate::{
    talk::load,
    terminal::{Failure, say},
};
use engine::{LoadOptions, sampler::Sampling};
use std::path::Path;

/// Prints the logits [vocab] after the last of `ids` as a JSON array.
pub async fn logits(model: &Path, options: &LoadOptions, ids: &[u32]) -> Result<(), Failure> {
    let mut engine = load(model, options).await?;
    let vocab = engine.session().vocab();
    if let Some(id) = ids.iter().find(|id| **id as usize >= vocab) {
        return Err(Failure::Said(format!(
            "there is no token {id}: the model has {vocab}"
        )));
    }
    let context = engine.info().context;
    if ids.len() > context {
        return Err(Failure::Said(format!(
            "{} tokens do not fit into a context of {context}; --context N makes room",
            ids.len()
        )));
    }
    let backend = engine.session().backend();
    backend.begin(&Sampling::greedy(), &vec![0; vocab.div_ceil(32)]);
    let chunk = backend.chunk();
    for (i, ids) in ids.chunks(chunk).enumerate() {
        backend.prefill(i * chunk, ids, true)?;
    }
    let logits = backend.logits().await?;
    let numbers: Vec<String> = logits.iter().map(f32::to_string).collect();
    say(&format!("[{}]\n", numbers.join(",")))
}
