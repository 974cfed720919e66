//! How a text becomes the words within which byte pairs are merged: the normalizers and pre-tokenizers of
//! `tokenizer.json`, as Hugging Face's tokenizers do them.
//!
//! Theirs would come with a regular expression engine and Unicode's tables, half a megabyte of a download, where every browser
//! has both. `tests/tokenizer.rs` holds these against theirs.

use std::ops::Range;

use serde_json::Value as Json;

use crate::{
    Error, Result,
    platform::{NormalForm, Regex, normalize},
};

/// GPT-2's words: contractions, letters, digits or signs with a blank before them, and blanks.
pub(super) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// One thing that is done to a text, or to each of the words that it was cut into.
#[derive(Debug)]
pub(super) enum Step {
    Normalize(NormalForm),
    Lowercase,
    /// Takes blanks off.
    Strip {
        start: bool,
        end: bool,
    },
    Replace {
        what: Pattern,
        with: String,
    },
    Prefix {
        text: String,
        when: When,
    },
    Split {
        at: Pattern,
        behavior: Behavior,
        /// What does not match is what is cut at.
        inverted: bool,
    },
    /// Writes every byte as GPT-2's character for it.
    Bytes,
}

/// What is searched for.
#[derive(Debug)]
pub(super) enum Pattern {
    Text(String),
    Regex(Regex),
}

/// Where a prefix is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// Where it does not stand already.
    Missing,
    /// Where it does not stand already, and the text begins.
    MissingAtStart,
}

/// What becomes of what a split is made at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behavior {
    Removed,
    /// A word of its own.
    Isolated,
    WithPrevious,
    WithNext,
    /// Neighbours are one word.
    Contiguous,
}

/// A part of a text on its way to the merges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub text: String,
    /// Whether the whole text begins here.
    pub is_start: bool,
}

impl Pattern {
    /// A regular expression.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when it is none.
    pub fn regex(pattern: &str) -> Result<Pattern> {
        let regex = Regex::new(pattern).map_err(|e| {
            Error::Tokenizer(format!(
                "the pattern '{pattern}' that it cuts text at does not hold: {e}"
            ))
        })?;
        Ok(Pattern::Regex(regex))
    }

    /// `{"String": "…"}` or `{"Regex": "…"}`.
    fn from_json(json: &Json) -> Result<Pattern> {
        match (json["String"].as_str(), json["Regex"].as_str()) {
            (Some(text), _) => Ok(Pattern::Text(text.to_string())),
            (_, Some(pattern)) => Pattern::regex(pattern),
            _ => Err(unknown("pattern", json)),
        }
    }

    /// Where it matches, in bytes, from left to right.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        match self {
            Pattern::Text(what) if what.is_empty() => Vec::new(),
            Pattern::Text(what) => {
                let found = text.match_indices(what);
                found.map(|(at, _)| at..at + what.len()).collect()
            }
            Pattern::Regex(regex) => regex.find(text),
        }
    }
}

/// Does the steps to a word in turn.
pub(super) fn run(steps: &[Step], word: Word) -> Vec<Word> {
    let mut words = vec![word];
    for step in steps {
        words = words.into_iter().flat_map(|word| step.run(word)).collect();
    }
    words.retain(|word| !word.text.is_empty());
    words
}

impl Step {
    fn run(&self, mut word: Word) -> Vec<Word> {
        let text = &mut word.text;
        match self {
            Step::Normalize(form) => *text = normalize(text, *form),
            Step::Lowercase => *text = text.chars().flat_map(char::to_lowercase).collect(),
            Step::Strip { start, end } => {
                if *end {
                    text.truncate(text.trim_end().len());
                }
                if *start {
                    *text = text.trim_start().to_string();
                }
            }
            Step::Replace { what, with } => {
                for place in what.find(text).into_iter().rev() {
                    text.replace_range(place, with);
                }
            }
            Step::Prefix { text: prefix, when } => {
                let wanted = match when {
                    When::Always => true,
                    When::Missing => !text.starts_with(prefix),
                    When::MissingAtStart => word.is_start && !text.starts_with(prefix),
                };
                if wanted && !text.is_empty() {
                    text.insert_str(0, prefix);
                }
            }
            Step::Bytes => *text = text.bytes().map(byte_character).collect(),
            Step::Split {
                at,
                behavior,
                inverted,
            } => {
                let cuts = cut(text.len(), at.find(text), *inverted, *behavior);
                let piece = |place: Range<usize>| Word {
                    is_start: word.is_start && place.start == 0,
                    text: word.text[place].to_string(),
                };
                return cuts.into_iter().map(piece).collect();
            }
        }
        vec![word]
    }
}

/// The words of a text of so many bytes that is cut at `matches`.
fn cut(
    length: usize,
    matches: Vec<Range<usize>>,
    inverted: bool,
    behavior: Behavior,
) -> Vec<Range<usize>> {
    // The whole text, match or no match.
    let mut parts: Vec<(Range<usize>, bool)> = Vec::with_capacity(2 * matches.len() + 1);
    let mut at = 0;
    for place in matches {
        let end = place.end;
        if at < place.start {
            parts.push((at..place.start, inverted));
        }
        parts.push((place, !inverted));
        at = end;
    }
    if at < length {
        parts.push((at..length, inverted));
    }
    let mut words: Vec<Range<usize>> = Vec::with_capacity(parts.len());
    // Whether the word before is a match, and whether the next part belongs to it.
    let (mut was_match, mut open) = (false, false);
    for (place, is_match) in parts {
        let joins = match behavior {
            Behavior::Removed | Behavior::Isolated => false,
            Behavior::WithPrevious => is_match && !was_match,
            Behavior::WithNext => open && !is_match,
            Behavior::Contiguous => is_match == was_match,
        };
        (was_match, open) = (is_match, is_match);
        match words.last_mut() {
            Some(word) if joins => word.end = place.end,
            _ if is_match && behavior == Behavior::Removed => {}
            _ => words.push(place),
        }
    }
    words
}

/// GPT-2's alphabet: printable Latin-1 is itself, the other 68 bytes are U+0100 onwards, in order.
fn byte_character(byte: u8) -> char {
    match byte {
        b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
        _ => {
            let before = match byte {
                0..=b' ' => byte,
                0x7F..=0xA0 => byte - 0x7F + 33,
                _ => 67,
            };
            char::from_u32(256 + u32::from(before)).unwrap_or_default()
        }
    }
}

/// GPT-2's alphabet backwards; none of a character that is not in it.
pub(super) fn character_byte(c: char) -> Option<u8> {
    match u32::from(c) {
        code @ 256..=288 => u8::try_from(code - 256).ok(),
        code @ 289..=322 => u8::try_from(code - 289 + 0x7F).ok(),
        323 => Some(0xAD),
        code => u8::try_from(code)
            .ok()
            .filter(|byte| byte_character(*byte) == c),
    }
}

/// A byte-level pre-tokenizer's steps: a blank before the text if it is to have one, words, bytes.
fn byte_level(prefix: bool, words: bool) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    if prefix {
        steps.push(Step::Prefix {
            text: " ".to_string(),
            when: When::Missing,
        });
    }
    if words {
        steps.push(isolated(GPT2)?);
    }
    steps.push(Step::Bytes);
    Ok(steps)
}

/// Every match is a word of its own.
pub(super) fn isolated(pattern: &str) -> Result<Step> {
    Ok(split(Pattern::regex(pattern)?, Behavior::Isolated))
}

fn split(at: Pattern, behavior: Behavior) -> Step {
    Step::Split {
        at,
        behavior,
        inverted: false,
    }
}

/// SentencePiece's normalizer: `▁` for a blank, and before the text if it is to have one there.
pub(super) fn spaces(prefix: bool) -> Vec<Step> {
    let mark = || "▁".to_string();
    let first = Step::Prefix {
        text: mark(),
        when: When::Always,
    };
    let blanks = Step::Replace {
        what: Pattern::Text(" ".to_string()),
        with: mark(),
    };
    prefix
        .then_some(first)
        .into_iter()
        .chain([blanks])
        .collect()
}

/// The steps that `tokenizer.json` has as its `normalizer` or its `pre_tokenizer`.
///
/// # Errors
/// [`Error::Tokenizer`] when one is not known.
pub(super) fn from_json(json: &Json) -> Result<Vec<Step>> {
    let flag = |key: &str, default| json[key].as_bool().unwrap_or(default);
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_string();
    let behavior = |default| match json["behavior"].as_str() {
        None => Ok(default),
        Some("Removed") => Ok(Behavior::Removed),
        Some("Isolated") => Ok(Behavior::Isolated),
        Some("MergedWithPrevious") => Ok(Behavior::WithPrevious),
        Some("MergedWithNext") => Ok(Behavior::WithNext),
        Some("Contiguous") => Ok(Behavior::Contiguous),
        Some(_) => Err(unknown("behavior", json)),
    };
    let all = |key: &str| -> Result<Vec<Step>> {
        let steps = json[key].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(steps
            .iter()
            .map(from_json)
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect())
    };
    if json.is_null() {
        return Ok(Vec::new());
    }
    let step = match json["type"].as_str().unwrap_or_default() {
        "Sequence" => {
            return Ok([all("normalizers")?, all("pretokenizers")?]
                .into_iter()
                .flatten()
                .collect());
        }
        "ByteLevel" => return byte_level(flag("add_prefix_space", true), flag("use_regex", true)),
        "Metaspace" => return metaspace(json),
        "NFC" => Step::Normalize(NormalForm::Nfc),
        "NFD" => Step::Normalize(NormalForm::Nfd),
        "NFKC" => Step::Normalize(NormalForm::Nfkc),
        "NFKD" => Step::Normalize(NormalForm::Nfkd),
        "Lowercase" => Step::Lowercase,
        "Strip" => Step::Strip {
            start: flag("strip_left", true),
            end: flag("strip_right", true),
        },
        "Prepend" => Step::Prefix {
            text: text("prepend"),
            when: When::Always,
        },
        "Replace" => Step::Replace {
            what: Pattern::from_json(&json["pattern"])?,
            with: text("content"),
        },
        "Split" => Step::Split {
            at: Pattern::from_json(&json["pattern"])?,
            behavior: behavior(Behavior::Isolated)?,
            inverted: flag("invert", false),
        },
        "Digits" if flag("individual_digits", false) => isolated(r"\p{N}")?,
        "Digits" => isolated(r"\p{N}+")?,
        // ASCII's signs are not all punctuation to Unicode.
        "Punctuation" => split(
            Pattern::regex(r"[\p{P}$+<=>^`|~]")?,
            behavior(Behavior::Isolated)?,
        ),
        "WhitespaceSplit" => split(Pattern::regex(r"\s")?, Behavior::Removed),
        "Whitespace" => Step::Split {
            at: Pattern::regex(r"\w+|[^\w\s]+")?,
            behavior: Behavior::Removed,
            inverted: true,
        },
        _ => return Err(unknown("step", json)),
    };
    Ok(vec![step])
}

/// SentencePiece's words: `▁` for a blank, and before the text.
fn metaspace(json: &Json) -> Result<Vec<Step>> {
    let mark = json["replacement"].as_str().unwrap_or("▁").to_string();
    let mut steps = vec![Step::Replace {
        what: Pattern::Text(" ".to_string()),
        with: mark.clone(),
    }];
    // The older spelling of "never".
    let never = json["add_prefix_space"].as_bool() == Some(false);
    let when = match json["prepend_scheme"].as_str() {
        _ if never => None,
        None | Some("always") => Some(When::Missing),
        Some("first") => Some(When::MissingAtStart),
        Some("never") => None,
        Some(_) => return Err(unknown("prepend_scheme", json)),
    };
    steps.extend(when.map(|when| Step::Prefix {
        text: mark.clone(),
        when,
    }));
    if json["split"].as_bool().unwrap_or(true) {
        steps.push(split(Pattern::Text(mark), Behavior::WithNext));
    }
    Ok(steps)
}

fn unknown(what: &str, json: &Json) -> Error {
    let mut json = json.to_string();
    if json.chars().count() > 200 {
        json = json.chars().take(200).chain(['…']).collect();
    }
    Error::Tokenizer(format!(
        "tokenizer.json has the {what} {json}, which Thimble does not know. Choose another model, or its GGUF file"
    ))
}
