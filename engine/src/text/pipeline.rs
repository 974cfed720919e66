//! From a text to ids: added tokens are found, what lies between them is normalized and cut into words, and within each word byte
//! pairs are merged.

use tokenizers::{Model, models::bpe::BPE};

use super::{
    added_tokens::{AddedToken, AddedTokens, Piece},
    steps::{Step, Word, run},
    tokenizer::failed,
};
use crate::Result;

/// What turns texts into ids.
#[derive(Debug)]
pub(super) struct Pipeline {
    /// Added tokens that are found in the text as it is written.
    written: AddedTokens,
    normalizer: Vec<Step>,
    /// Added tokens that are found in the normalized text.
    normalized: AddedTokens,
    pre_tokenizer: Vec<Step>,
    pub bpe: BPE,
}

impl Pipeline {
    pub fn new(
        added_tokens: &[AddedToken],
        normalizer: Vec<Step>,
        pre_tokenizer: Vec<Step>,
        bpe: BPE,
    ) -> Pipeline {
        let (normalized, written): (Vec<AddedToken>, Vec<AddedToken>) =
            added_tokens.iter().cloned().partition(|t| t.normalized);
        let as_written = |token: AddedToken| (token.content.clone(), token);
        let as_normalized = |token: AddedToken| (joined(&normalizer, &token.content), token);
        Pipeline {
            written: AddedTokens::new(written.into_iter().map(as_written).collect()),
            normalized: AddedTokens::new(normalized.into_iter().map(as_normalized).collect()),
            normalizer,
            pre_tokenizer,
            bpe,
        }
    }

    /// The ids of a text.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer) when a word cannot be merged.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        for (number, piece) in self.written.cut(text).into_iter().enumerate() {
            let text = match piece {
                Piece::Token(id) => {
                    ids.push(id);
                    continue;
                }
                Piece::Text(text) => joined(&self.normalizer, text),
            };
            for (within, piece) in self.normalized.cut(&text).into_iter().enumerate() {
                match piece {
                    Piece::Token(id) => ids.push(id),
                    Piece::Text(text) => self.merge(text, number == 0 && within == 0, &mut ids)?,
                }
            }
        }
        Ok(ids)
    }

    /// Adds the ids of a text without added tokens. `is_start`: the whole text begins with it.
    fn merge(&self, text: &str, is_start: bool, ids: &mut Vec<u32>) -> Result<()> {
        let text = Word {
            text: text.to_string(),
            is_start,
        };
        for word in run(&self.pre_tokenizer, text) {
            let tokens = self.bpe.tokenize(&word.text).map_err(failed)?;
            ids.extend(tokens.iter().map(|token| token.id));
        }
        Ok(())
    }
}

/// What normalizers make of a text.
fn joined(normalizer: &[Step], text: &str) -> String {
    let text = Word {
        text: text.to_string(),
        is_start: true,
    };
    let words = run(normalizer, text);
    words.into_iter().map(|word| word.text).collect()
}
