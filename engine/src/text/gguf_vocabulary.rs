//! Byte-level BPE tokenizers from a GGUF's metadata.

use std::collections::{BTreeMap, HashSet};

use tokenizers::models::bpe::{BPE, Vocab};

use super::{
    added_tokens::AddedToken,
    pipeline::Pipeline,
    pre_tokenizers::{Style, style},
    tokenizer::{Spelling, Tokenizer, failed},
};
use crate::{Error, Result, weights::metadata::Metadata};

impl Tokenizer {
    /// From a GGUF's `tokenizer.ggml.*`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the file's kind of tokenizer is not known, [`Error::BadConfig`] when a key
    /// that it needs is missing.
    pub fn from_gguf(metadata: &Metadata) -> Result<Tokenizer> {
        let model = metadata.str("tokenizer.ggml.model")?;
        if model != "gpt2" {
            return Err(Error::Tokenizer(format!(
                "{} holds a tokenizer of the kind '{model}', and Thimble reads 'gpt2' (byte-level BPE) from GGUF. Choose the model's safetensors export with a tokenizer.json",
                metadata.file()
            )));
        }
        let pre = metadata.optional("tokenizer.ggml.pre", Metadata::str)?;
        let Style {
            normalizer,
            pre_tokenizer,
            ignore_merges,
            adds_bos,
        } = style(pre.unwrap_or("default"))?;
        let tokens = metadata.strings("tokenizer.ggml.tokens")?;
        let bpe = BPE::builder()
            .vocab_and_merges(
                Vocab::from_iter(vocabulary(tokens)?),
                merges(metadata.strings("tokenizer.ggml.merges")?)?,
            )
            .ignore_merges(ignore_merges)
            .build()
            .map_err(failed)?;
        let added_tokens = added_tokens(metadata, tokens)?;

        let id = |key: &str| metadata.optional(key, Metadata::u32);
        let bos = id("tokenizer.ggml.bos_token_id")?;
        let mut eos_ids = Vec::new();
        for key in ["eos_token_id", "eot_token_id", "eom_token_id"] {
            eos_ids.extend(id(&format!("tokenizer.ggml.{key}"))?);
        }
        let mut names = BTreeMap::new();
        for (name, key) in [
            ("bos_token", "bos"),
            ("eos_token", "eos"),
            ("unk_token", "unknown"),
            ("pad_token", "padding"),
        ] {
            let Some(id) = id(&format!("tokenizer.ggml.{key}_token_id"))? else {
                continue;
            };
            let Some(token) = tokens.get(id as usize) else {
                return Err(Error::Tokenizer(format!(
                    "its {name} is {id}, and there are {} tokens",
                    tokens.len()
                )));
            };
            names.insert(name.to_string(), token.clone());
        }
        let adds_bos = metadata
            .optional("tokenizer.ggml.add_bos_token", Metadata::bool)?
            .unwrap_or(adds_bos);
        let prefix = bos.filter(|_| adds_bos).into_iter().collect();
        let pipeline = Pipeline::new(&added_tokens, normalizer, pre_tokenizer, bpe);
        Ok(Tokenizer::new(
            pipeline,
            added_tokens,
            Spelling::ByteLevel,
            prefix,
            bos,
            eos_ids,
            names,
        ))
    }
}

fn vocabulary(tokens: &[String]) -> Result<Vec<(String, u32)>> {
    let mut seen = HashSet::new();
    let mut vocabulary = Vec::with_capacity(tokens.len());
    for (id, token) in tokens.iter().enumerate() {
        if !seen.insert(token.as_str()) {
            return Err(Error::Tokenizer(format!(
                "the token '{token}' is in its vocabulary twice"
            )));
        }
        let id =
            u32::try_from(id).map_err(|_| Error::Tokenizer("it has too many tokens".into()))?;
        vocabulary.push((token.clone(), id));
    }
    Ok(vocabulary)
}

/// `"a b"` → `(a, b)`; a token may itself begin with a blank.
fn merges(merges: &[String]) -> Result<Vec<(String, String)>> {
    let split = |merge: &String| {
        let at = merge
            .char_indices()
            .skip(1)
            .find(|(_, c)| *c == ' ')
            .map(|(at, _)| at);
        let (a, b) = merge.split_at(at?);
        Some((a.to_string(), b[1..].to_string()))
    };
    let broken = |merge: &String| {
        Error::Tokenizer(format!(
            "its merge rule '{merge}' has no blank between two tokens"
        ))
    };
    merges
        .iter()
        .map(|m| split(m).ok_or_else(|| broken(m)))
        .collect()
}

/// Tokens that are found in a text before anything else is done to it.
fn added_tokens(metadata: &Metadata, tokens: &[String]) -> Result<Vec<AddedToken>> {
    const CONTROL: i64 = 3;
    const USER_DEFINED: i64 = 4;
    let kinds = metadata.optional("tokenizer.ggml.token_type", Metadata::ints)?;
    let Some(kinds) = kinds else {
        return Ok(Vec::new());
    };
    if kinds.len() != tokens.len() {
        return Err(Error::Tokenizer(format!(
            "it has {} tokens and {} token types",
            tokens.len(),
            kinds.len()
        )));
    }
    let added = |((id, content), kind): ((u32, &String), &i64)| {
        matches!(*kind, CONTROL | USER_DEFINED).then(|| AddedToken {
            id,
            content: content.clone(),
            special: *kind == CONTROL,
            ..AddedToken::default()
        })
    };
    Ok((0..).zip(tokens).zip(kinds).filter_map(added).collect())
}
