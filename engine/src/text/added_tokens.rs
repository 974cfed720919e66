//! Tokens that are found in a text before it is cut into words.

use serde::Deserialize;

/// A token of `tokenizer.json`'s `added_tokens`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct AddedToken {
    pub id: u32,
    pub content: String,
    /// Only where neither neighbour is part of a word.
    pub single_word: bool,
    /// With the blanks before it.
    pub lstrip: bool,
    /// With the blanks after it.
    pub rstrip: bool,
    /// Searched for in the normalized text, and not in the text as it is written.
    pub normalized: bool,
    /// No text, such as `<|im_end|>`.
    pub special: bool,
}

/// A piece of a text.
#[derive(Debug, PartialEq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Token(u32),
}

/// Some added tokens, ready to be found.
#[derive(Debug, Default)]
pub(super) struct AddedTokens {
    /// The spelling that is searched for, and the token.
    tokens: Vec<(String, AddedToken)>,
    /// Of each first byte, the tokens that begin with it, longer ones first.
    by_first_byte: Vec<Vec<usize>>,
}

impl AddedTokens {
    /// Of tokens and the spellings that are searched for; without a spelling, none is found.
    pub fn new(tokens: Vec<(String, AddedToken)>) -> AddedTokens {
        let mut by_first_byte = vec![Vec::new(); 256];
        for (i, (spelling, _)) in tokens.iter().enumerate() {
            if let Some(first) = spelling.bytes().next() {
                by_first_byte[usize::from(first)].push(i);
            }
        }
        for found in &mut by_first_byte {
            found.sort_by_key(|i| std::cmp::Reverse(tokens[*i].0.len()));
        }
        AddedTokens {
            tokens,
            by_first_byte,
        }
    }

    /// The longest token that stands at a byte.
    fn at(&self, text: &[u8], at: usize) -> Option<&(String, AddedToken)> {
        self.by_first_byte
            .get(usize::from(text[at]))?
            .iter()
            .map(|i| &self.tokens[*i])
            .find(|(spelling, _)| text[at..].starts_with(spelling.as_bytes()))
    }

    /// The text's pieces from left to right, none of them empty.
    pub fn cut<'a>(&self, text: &'a str) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let (mut begun, mut at) = (0, 0);
        while at < text.len() {
            let Some((spelling, token)) = self.at(text.as_bytes(), at) else {
                at += 1;
                continue;
            };
            let (mut from, mut to) = (at, at + spelling.len());
            at = to;
            let within_word =
                text[..from].ends_with(is_of_word) || text[to..].starts_with(is_of_word);
            if token.single_word && within_word {
                continue;
            }
            if token.lstrip {
                from = text[..from].trim_end().len().max(begun);
            }
            if token.rstrip {
                to = text.len() - text[to..].trim_start().len();
            }
            if begun < from {
                pieces.push(Piece::Text(&text[begun..from]));
            }
            pieces.push(Piece::Token(token.id));
            (begun, at) = (to, at.max(to));
        }
        if begun < text.len() {
            pieces.push(Piece::Text(&text[begun..]));
        }
        pieces
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_token_at_the_leftmost_place_is_cut_out() {
        let token = |id: u32, content: &str| {
            let token = AddedToken {
                id,
                ..AddedToken::default()
            };
            (content.to_string(), token)
        };
        let mut tokens = vec![
            token(1, "<a>"),
            token(2, "<a><b>"),
            token(3, "é"),
            token(4, ""),
        ];
        tokens[2].1.lstrip = true;
        tokens[2].1.rstrip = true;
        let tokens = AddedTokens::new(tokens);
        assert_eq!(
            tokens.cut("x<a><b><a>  é\té y"),
            [
                Piece::Text("x"),
                Piece::Token(2),
                Piece::Token(1),
                Piece::Token(3),
                Piece::Token(3),
                Piece::Text("y")
            ]
        );
        assert_eq!(tokens.cut(""), []);
        assert_eq!(AddedTokens::default().cut("<a>"), [Piece::Text("<a>")]);
    }
}
