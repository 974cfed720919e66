//! Tokenizers from a GGUF's metadata: byte-level BPE, and SentencePiece's BPE.

use std::collections::{BTreeMap, HashSet};

use tokenizers::models::bpe::{BPE, Vocab};

use super::{
    added_tokens::AddedToken,
    pipeline::Pipeline,
    pre_tokenizers::style,
    steps::{Step, spaces},
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
        let tokens = metadata.strings("tokenizer.ggml.tokens")?;
        let kinds = kinds(metadata, tokens.len())?;
        let Kind {
            spelling,
            normalizer,
            pre_tokenizer,
            bpe,
            adds_bos,
        } = match metadata.str("tokenizer.ggml.model")? {
            "gpt2" => byte_level(metadata, tokens)?,
            "llama" => sentencepiece(metadata, tokens, kinds)?,
            other => {
                return Err(Error::Tokenizer(format!(
                    "{} holds a tokenizer of the kind '{other}', and Thimble reads 'gpt2' (byte-level BPE) and 'llama' (SentencePiece) from GGUF. Choose the model's safetensors export with a tokenizer.json",
                    metadata.file()
                )));
            }
        };
        let added_tokens = added_tokens(tokens, kinds);

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
            spelling,
            prefix,
            bos,
            eos_ids,
            names,
        ))
    }
}

/// What kinds of tokenizers differ in.
struct Kind {
    spelling: Spelling,
    normalizer: Vec<Step>,
    pre_tokenizer: Vec<Step>,
    bpe: BPE,
    /// Whether a text begins with the BOS token where the file does not say.
    adds_bos: bool,
}

fn byte_level(metadata: &Metadata, tokens: &[String]) -> Result<Kind> {
    let pre = metadata.optional("tokenizer.ggml.pre", Metadata::str)?;
    let style = style(pre.unwrap_or("default"))?;
    let bpe = BPE::builder()
        .vocab_and_merges(
            Vocab::from_iter(vocabulary(tokens)?),
            merges(metadata.strings("tokenizer.ggml.merges")?)?,
        )
        .ignore_merges(style.ignore_merges)
        .build()
        .map_err(failed)?;
    Ok(Kind {
        spelling: Spelling::ByteLevel,
        normalizer: style.normalizer,
        pre_tokenizer: style.pre_tokenizer,
        bpe,
        adds_bos: style.adds_bos,
    })
}

/// SentencePiece has no list of merges: any two neighbours that make a token may become one, those of the highest score first.
fn sentencepiece(metadata: &Metadata, tokens: &[String], kinds: &[i64]) -> Result<Kind> {
    let scores = metadata.floats("tokenizer.ggml.scores")?;
    if scores.len() != tokens.len() {
        return Err(Error::Tokenizer(format!(
            "it has {} tokens and {} scores",
            tokens.len(),
            scores.len()
        )));
    }
    let vocab = Vocab::from_iter(vocabulary(tokens)?);
    let is_text = |id: usize| kinds.get(id).is_none_or(|kind| *kind == NORMAL);
    let mut merges = Vec::new();
    for (id, token) in tokens.iter().enumerate().filter(|(id, _)| is_text(*id)) {
        for (at, _) in token.char_indices().skip(1) {
            let (a, b) = token.split_at(at);
            if let (Some(a_id), Some(b_id)) = (vocab.get(a), vocab.get(b)) {
                merges.push((scores[id], (*a_id, *b_id), (a.to_string(), b.to_string())));
            }
        }
    }
    // Tokens of one score: in the order of the vocabulary.
    merges.sort_by(|(a, a_ids, _), (b, b_ids, _)| b.total_cmp(a).then(a_ids.cmp(b_ids)));
    let unknown = kinds.iter().position(|kind| *kind == UNKNOWN);
    let mut bpe = BPE::builder()
        .vocab_and_merges(vocab, merges.into_iter().map(|(_, _, pair)| pair).collect())
        .byte_fallback(true)
        .fuse_unk(true);
    if let Some(unknown) = unknown {
        bpe = bpe.unk_token(tokens[unknown].clone());
    }
    let add_prefix = metadata.optional("tokenizer.ggml.add_space_prefix", Metadata::bool)?;
    Ok(Kind {
        spelling: Spelling::SentencePiece,
        normalizer: spaces(add_prefix.unwrap_or(true)),
        pre_tokenizer: Vec::new(),
        bpe: bpe.build().map_err(failed)?,
        adds_bos: true,
    })
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

// llama.cpp's kinds of tokens.
const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// The kind of each token; none where the file does not say.
fn kinds(metadata: &Metadata, n_tokens: usize) -> Result<&[i64]> {
    let kinds = metadata.optional("tokenizer.ggml.token_type", Metadata::ints)?;
    let kinds = kinds.unwrap_or_default();
    if kinds.is_empty() || kinds.len() == n_tokens {
        return Ok(kinds);
    }
    Err(Error::Tokenizer(format!(
        "it has {n_tokens} tokens and {} token types",
        kinds.len()
    )))
}

/// Tokens that are found in a text before anything else is done to it.
fn added_tokens(tokens: &[String], kinds: &[i64]) -> Vec<AddedToken> {
    let added = |((id, content), kind): ((u32, &String), &i64)| {
        matches!(*kind, CONTROL | USER_DEFINED).then(|| AddedToken {
            id,
            content: content.clone(),
            special: *kind == CONTROL,
            ..AddedToken::default()
        })
    };
    (0..).zip(tokens).zip(kinds).filter_map(added).collect()
}
