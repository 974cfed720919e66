//! How GGUF's byte-level BPE tokenizers cut a text before they merge: `tokenizer.ggml.pre` names one.

use super::steps::{GPT2, Step, isolated};
use crate::{Error, Result, platform::NormalForm};

/// What differs between byte-level BPE tokenizers, apart from vocabulary and merges.
pub(super) struct Style {
    pub normalizer: Vec<Step>,
    pub pre_tokenizer: Vec<Step>,
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
///
/// # Errors
/// [`Error::Tokenizer`] when it is not known.
pub(super) fn style(pre: &str) -> Result<Style> {
    // Each pattern cuts its matches out of what the ones before left over; then bytes become characters.
    let cut_by = |patterns: &[&str]| {
        let mut steps: Vec<Step> = patterns
            .iter()
            .map(|p| isolated(p))
            .collect::<Result<_>>()?;
        steps.push(Step::Bytes);
        Ok(Style {
            normalizer: Vec::new(),
            pre_tokenizer: steps,
            ignore_merges: false,
            adds_bos: false,
        })
    };
    match pre {
        "gpt-2" => cut_by(&[GPT2]),
        "smollm" | "starcoder" | "refact" | "command-r" => cut_by(&[r"\p{N}", GPT2]),
        "llama-bpe" | "llama3" | "llama-v3" => Ok(Style {
            ignore_merges: true,
            adds_bos: true,
            ..cut_by(&[LLAMA3])?
        }),
        "qwen2" => Ok(Style {
            normalizer: vec![Step::Normalize(NormalForm::Nfc)],
            ..cut_by(&[QWEN2])?
        }),
        "stablelm2" => cut_by(&[QWEN2]),
        "default" => cut_by(&DEFAULT),
        other => Err(Error::Tokenizer(format!(
            "it cuts text in the way '{other}' (tokenizer.ggml.pre), and Thimble knows: {KNOWN}. Choose another model, or its safetensors export with a tokenizer.json"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::steps::{Step, Word, run},
        style,
    };

    /// The cuts of one text; all but `default` as Python's `tokenizers` makes them with the published patterns.
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
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
            let mut steps = style(pre).unwrap().pre_tokenizer;
            assert!(matches!(steps.pop(), Some(Step::Bytes)));
            let text = Word {
                text: TEXT.to_string(),
                is_start: true,
            };
            let cuts: Vec<String> = run(&steps, text)
                .into_iter()
                .map(|word| word.text)
                .collect();
            assert_eq!(cuts.join("|"), expected, "{pre}");
        }
    }
}
