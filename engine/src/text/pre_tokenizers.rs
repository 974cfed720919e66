//! How GGUF's byte-level BPE tokenizers cut a text before they merge: `tokenizer.ggml.pre` names one.

use tokenizers::{
    NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior,
    normalizers::NFC,
    pre_tokenizers::{
        byte_level::ByteLevel,
        digits::Digits,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

use crate::{Error, Result};

/// What differs between byte-level BPE tokenizers, apart from vocabulary and merges.
pub(super) struct Style {
    pub normalizer: Option<NormalizerWrapper>,
    pub pre_tokenizer: PreTokenizerWrapper,
    /// A word that is in the vocabulary is taken whole.
    pub ignore_merges: bool,
    /// Whether a text begins with the BOS token where the file does not say.
    pub adds_bos: bool,
}

/// Names of `tokenizer.ggml.pre` that are known, for messages.
const KNOWN: &str =
    "default, gpt-2, smollm, starcoder, refact, command-r, llama-bpe, qwen2, stablelm2";

/// Llama 3: contractions, words with one leading sign, digits by threes, signs, line ends, blanks.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2: as Llama 3, with single digits.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// llama.cpp's choice where the file names no pre-tokenizer; GPT-2's pattern between the others.
const DEFAULT: [&str; 4] = [
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    r"[0-9][0-9][0-9]",
];

/// The style that `tokenizer.ggml.pre` names.
pub(super) fn style(pre: &str) -> Result<Style> {
    let plain = |pre_tokenizer| Style {
        normalizer: None,
        pre_tokenizer,
        ignore_merges: false,
        adds_bos: false,
    };
    Ok(match pre {
        "gpt-2" => plain(ByteLevel::new(false, true, true).into()),
        "smollm" | "starcoder" | "refact" | "command-r" => plain(sequence(vec![
            Digits::new(true).into(),
            ByteLevel::new(false, true, true).into(),
        ])),
        "llama-bpe" | "llama3" | "llama-v3" => Style {
            ignore_merges: true,
            adds_bos: true,
            ..plain(splits(&[LLAMA3])?)
        },
        "qwen2" => Style {
            normalizer: Some(NFC.into()),
            ..plain(splits(&[QWEN2])?)
        },
        "stablelm2" => plain(splits(&[QWEN2])?),
        "default" => plain(splits(&DEFAULT)?),
        other => {
            return Err(Error::Tokenizer(format!(
                "it cuts text in the way '{other}' (tokenizer.ggml.pre), and Thimble knows: {KNOWN}. Choose another model, or its safetensors export with a tokenizer.json"
            )));
        }
    })
}

/// Each pattern cuts its matches out of what the ones before left over; then bytes become characters.
fn splits(patterns: &[&str]) -> Result<PreTokenizerWrapper> {
    let mut parts = Vec::new();
    for pattern in patterns {
        let pattern = SplitPattern::Regex(pattern.to_string());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
        parts.push(split.map_err(|e| Error::Tokenizer(e.to_string()))?.into());
    }
    parts.push(ByteLevel::new(false, true, false).into());
    Ok(sequence(parts))
}

fn sequence(parts: Vec<PreTokenizerWrapper>) -> PreTokenizerWrapper {
    Sequence::new(parts).into()
}

#[cfg(test)]
mod tests {
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    use super::style;

    /// The cuts of one text; all but `default` as Python's `tokenizers` makes them with the published patterns.
    #[test]
    fn each_style_cuts_in_its_own_way() {
        const TEXT: &str = "It'S 2024-12, don't!?\n\n\tx  y";
        let cases = [
            ("gpt-2", "It|'|S| 2024|-|12|,| don|'t|!?|\n\n|\t|x| | y"),
            (
                "smollm",
                "It|'|S| |2|0|2|4|-|1|2|,| don|'t|!?|\n\n|\t|x| | y",
            ),
            ("llama-bpe", "It|'S| |202|4|-|12|,| don|'t|!?\n\n|\tx| | y"),
            ("qwen2", "It|'S| |2|0|2|4|-|1|2|,| don|'t|!?\n\n|\tx| | y"),
            (
                "default",
                "It|'|S| |202|4|-|12|,| don|'|t|!?|\n\n|\t|x| | y",
            ),
        ];
        for (pre, expected) in cases {
            let mut text = PreTokenizedString::from(TEXT);
            style(pre)
                .unwrap()
                .pre_tokenizer
                .pre_tokenize(&mut text)
                .unwrap();
            let splits = text.get_splits(OffsetReferential::Original, OffsetType::Byte);
            let cuts: Vec<&str> = splits
                .iter()
                .map(|(_, (from, to), _)| &TEXT[*from..*to])
                .collect();
            assert_eq!(cuts.join("|"), expected, "{pre}");
        }
    }
}
