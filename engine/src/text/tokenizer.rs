//! Text to token ids and token ids to bytes.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value as Json;

use crate::{Error, Result};

/// A model's tokenizer, from `tokenizer.json` or from a GGUF's metadata.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    spelling: Spelling,
    special: HashSet<u32>,
    /// Added tokens are spelled as plain text, whatever the others are.
    added: HashMap<u32, String>,
    /// What a text begins with when it does not come from a chat template.
    prefix: Vec<u32>,
    bos: Option<u32>,
    eos_ids: Vec<u32>,
    /// `bos_token`, `eos_token`, … as chat templates know them.
    names: BTreeMap<String, String>,
    vocab_size: usize,
}

/// How a vocabulary spells bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// GPT-2's: every byte is one printable character.
    ByteLevel,
    /// SentencePiece's: `▁` is a space, `<0xAB>` a byte, everything else itself.
    SentencePiece,
}

/// The files of a Hugging Face checkpoint that say something about tokens.
#[derive(Debug, Clone, Copy, Default)]
pub struct HfFiles<'a> {
    /// `tokenizer.json`
    pub tokenizer: &'a [u8],
    /// `tokenizer_config.json`
    pub tokenizer_config: Option<&'a [u8]>,
    /// `generation_config.json`
    pub generation_config: Option<&'a [u8]>,
    /// `config.json`
    pub config: Option<&'a [u8]>,
}

/// Special tokens that end a turn or a text in the families that use them, whether or not a file says so
/// (as llama.cpp has it).
const END_TOKENS: [&str; 15] = [
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|return|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<EOT>",
    "[EOT]",
    "[EOS]",
    "<|eot|>",
    "<eos>",
    "</s>",
];

impl Tokenizer {
    /// From `tokenizer.json` alone; end tokens are then those that are known by name.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when it cannot be used.
    pub fn from_json(tokenizer: &[u8]) -> Result<Tokenizer> {
        Tokenizer::from_hf(&HfFiles {
            tokenizer,
            ..HfFiles::default()
        })
    }

    /// From the files of a Hugging Face checkpoint.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when `tokenizer.json` cannot be used, [`Error::BadConfig`] when another is no JSON.
    pub fn from_hf(files: &HfFiles) -> Result<Tokenizer> {
        let mut inner = tokenizers::Tokenizer::from_bytes(files.tokenizer)
            .map_err(|e| Error::Tokenizer(format!("tokenizer.json does not hold: {e}")))?;
        // Both serve training; a prompt is neither cut nor filled up.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(failed)?;
        let tokenizer_config = json("tokenizer_config.json", files.tokenizer_config)?;
        let generation_config = json("generation_config.json", files.generation_config)?;
        let config = json("config.json", files.config)?;

        let mut names = BTreeMap::new();
        for key in ["bos_token", "eos_token", "unk_token", "pad_token"] {
            if let Some(token) = token_name(&tokenizer_config[key]) {
                names.insert(key.to_string(), token.to_string());
            }
        }
        let mut eos_ids = Vec::new();
        for ids in [&generation_config["eos_token_id"], &config["eos_token_id"]] {
            eos_ids.extend(int_or_ints(ids));
        }
        eos_ids.extend(names.get("eos_token").and_then(|t| inner.token_to_id(t)));
        let named_bos = names.get("bos_token").and_then(|t| inner.token_to_id(t));
        let bos = named_bos.or_else(|| int_or_ints(&config["bos_token_id"]).first().copied());
        let spelling = spelling(&inner)?;
        let prefix = prefix(&inner)?;
        let vocab_size = inner.get_vocab_size(true);
        Ok(Tokenizer::new(
            inner, spelling, prefix, bos, eos_ids, names, vocab_size,
        ))
    }

    pub(super) fn new(
        inner: tokenizers::Tokenizer,
        spelling: Spelling,
        prefix: Vec<u32>,
        bos: Option<u32>,
        mut eos_ids: Vec<u32>,
        names: BTreeMap<String, String>,
        vocab_size: usize,
    ) -> Tokenizer {
        let mut special = HashSet::new();
        let mut added = HashMap::new();
        for (id, token) in inner.get_added_tokens_decoder() {
            if token.special {
                special.insert(id);
            }
            added.insert(id, token.content);
        }
        let ends = END_TOKENS.iter().filter_map(|t| inner.token_to_id(t));
        eos_ids.extend(ends.filter(|id| special.contains(id)));
        eos_ids.sort_unstable();
        eos_ids.dedup();
        Tokenizer {
            inner,
            spelling,
            special,
            added,
            prefix,
            bos,
            eos_ids,
            names,
            vocab_size,
        }
    }

    /// The ids of a text. `from_template`: the text was rendered by a chat template, which writes its own
    /// BOS token; otherwise it begins with what the model expects before any text.
    ///
    /// Special tokens that are spelled out in the text become that token, also where a visitor typed them,
    /// as with Hugging Face's tokenizers: the rendered template is one text.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the tokenizer fails on this text.
    pub fn encode(&self, text: &str, from_template: bool) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, false).map_err(failed)?;
        let prefix = if from_template { &[] } else { &self.prefix[..] };
        Ok([prefix, encoding.get_ids()].concat())
    }

    /// The text of whole ids at once, special tokens included. Streams use [`Tokenizer::token_bytes`].
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the tokenizer fails on these ids.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.inner.decode(ids, false).map_err(failed)
    }

    /// The text bytes of one token, which need not be whole characters. Special tokens and ids beyond the
    /// vocabulary have none.
    pub fn token_bytes(&self, id: u32) -> Vec<u8> {
        if self.special.contains(&id) {
            return Vec::new();
        }
        if let Some(text) = self.added.get(&id) {
            return text.clone().into_bytes();
        }
        let Some(token) = self.inner.id_to_token(id) else {
            return Vec::new();
        };
        match self.spelling {
            Spelling::ByteLevel => byte_level_bytes(&token),
            Spelling::SentencePiece => match byte_token(&token) {
                Some(byte) => vec![byte],
                None => token.replace('▁', " ").into_bytes(),
            },
        }
    }

    /// Whether the tokenizer puts a space before the first word, which is then not part of the text.
    pub fn begins_with_space(&self) -> bool {
        self.spelling == Spelling::SentencePiece
    }

    /// Number of ids; an embedding may have more rows.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The id of a token as the vocabulary spells it.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token that begins a text, where the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Whether [`Tokenizer::encode`] begins with the BOS token.
    pub fn add_bos(&self) -> bool {
        self.bos.is_some_and(|bos| self.prefix.contains(&bos))
    }

    /// Tokens that end an answer, ascending.
    pub fn eos_ids(&self) -> &[u32] {
        &self.eos_ids
    }

    /// Whether the token is no text, such as `<|im_end|>`.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains(&id)
    }

    /// `bos_token`, `eos_token`, `unk_token` and `pad_token`, as far as the model has them.
    pub fn names(&self) -> &BTreeMap<String, String> {
        &self.names
    }
}

/// GPT-2's alphabet backwards: printable Latin-1 is itself, the other 68 bytes are U+0100 onwards, in order.
fn byte_level_bytes(token: &str) -> Vec<u8> {
    let own = |b: &u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut bytes = Vec::with_capacity(token.len());
    for c in token.chars() {
        let code = c as u32;
        let byte = match u8::try_from(code) {
            Ok(b) => own(&b).then_some(b),
            Err(_) => (0..=255u8).filter(|b| !own(b)).nth((code - 256) as usize),
        };
        match byte {
            Some(byte) => bytes.push(byte),
            // Not of the alphabet: the token is plain text, as tokens added later are.
            None => return token.as_bytes().to_vec(),
        }
    }
    bytes
}

/// `<0xAB>` → 0xAB.
fn byte_token(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (hex.len() == 2)
        .then(|| u8::from_str_radix(hex, 16).ok())
        .flatten()
}

/// By the decoder that `tokenizer.json` names.
fn spelling(inner: &tokenizers::Tokenizer) -> Result<Spelling> {
    let decoder = serde_json::to_string(&inner.get_decoder()).unwrap_or_default();
    if decoder.contains(r#""ByteLevel""#) {
        Ok(Spelling::ByteLevel)
    } else if ["ByteFallback", "Metaspace", "▁"]
        .iter()
        .any(|mark| decoder.contains(mark))
    {
        Ok(Spelling::SentencePiece)
    } else {
        Err(Error::Tokenizer(format!(
            "tokenizer.json has the decoder {decoder}, and Thimble knows byte-level ones and SentencePiece's"
        )))
    }
}

/// What the post-processor puts before a text. What it would put behind is left out: the model goes on there.
fn prefix(inner: &tokenizers::Tokenizer) -> Result<Vec<u32>> {
    let ids = |special| {
        inner
            .encode_fast("a", special)
            .map(|e| e.get_ids().to_vec())
            .map_err(failed)
    };
    let (plain, processed) = (ids(false)?, ids(true)?);
    let at = processed
        .windows(plain.len().max(1))
        .position(|w| w == plain);
    Ok(processed[..at.unwrap_or(0)].to_vec())
}

fn json(file: &str, bytes: Option<&[u8]>) -> Result<Json> {
    let Some(bytes) = bytes else {
        return Ok(Json::Null);
    };
    serde_json::from_slice(bytes).map_err(|e| Error::BadConfig {
        file: file.to_string(),
        problem: format!("it is not JSON: {e}"),
    })
}

/// `"<s>"` or `{"content": "<s>", …}`.
fn token_name(token: &Json) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str())
}

/// `2` or `[2, 3]`.
fn int_or_ints(json: &Json) -> Vec<u32> {
    let ints = json
        .as_array()
        .map_or(std::slice::from_ref(json), Vec::as_slice);
    ints.iter()
        .filter_map(|i| u32::try_from(i.as_u64()?).ok())
        .collect()
}

pub(super) fn failed(e: impl std::fmt::Display) -> Error {
    Error::Tokenizer(e.to_string())
}
