//! Text that streams out token by token.

/// Joins the bytes of tokens to text that is surely complete: never half a character, and nothing that may
/// yet turn out to begin a stop string. However the bytes are split, the pieces join to the same text.
#[derive(Debug, Clone)]
pub struct TokenStream {
    stops: Vec<String>,
    /// Beginning of a character whose end has not come yet, at most three bytes.
    bytes: Vec<u8>,
    /// Text that may be the beginning of a stop string.
    held: String,
    /// The next text is the first, and a space before it is the tokenizer's, not the model's.
    trims_space: bool,
    stopped: bool,
}

impl TokenStream {
    /// `stops`: strings that end the text and are not part of it. `trims_first_space`: see
    /// [`Tokenizer::begins_with_space`](super::Tokenizer::begins_with_space).
    pub fn new(stops: &[String], trims_first_space: bool) -> TokenStream {
        TokenStream {
            stops: stops.iter().filter(|s| !s.is_empty()).cloned().collect(),
            bytes: Vec::new(),
            held: String::new(),
            trims_space: trims_first_space,
            stopped: false,
        }
    }

    /// Takes the bytes of one token ([`Tokenizer::token_bytes`](super::Tokenizer::token_bytes)) and gives the
    /// text that is complete now. After a stop string there is no more text.
    pub fn push(&mut self, token: &[u8]) -> String {
        self.bytes.extend_from_slice(token);
        let text = take_characters(&mut self.bytes);
        self.emit(&text)
    }

    /// What was held back; half characters become U+FFFD.
    pub fn finish(&mut self) -> String {
        let rest = String::from_utf8_lossy(&std::mem::take(&mut self.bytes)).into_owned();
        let mut text = self.emit(&rest);
        if !self.stopped {
            text.push_str(&std::mem::take(&mut self.held));
        }
        text
    }

    /// Whether a stop string came.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    fn emit(&mut self, text: &str) -> String {
        if self.stopped {
            return String::new();
        }
        let text = if self.trims_space && !text.is_empty() {
            self.trims_space = false;
            text.strip_prefix(' ').unwrap_or(text)
        } else {
            text
        };
        self.held.push_str(text);
        if let Some(start) = self.first_stop() {
            self.stopped = true;
            self.held.truncate(start);
            return std::mem::take(&mut self.held);
        }
        let keep = self.unsure_bytes();
        let rest = self.held.split_off(self.held.len() - keep);
        std::mem::replace(&mut self.held, rest)
    }

    /// Where the stop string begins that is complete first: the same one, however the text is split.
    fn first_stop(&self) -> Option<usize> {
        let found = self.stops.iter().filter_map(|stop| {
            let start = self.held.find(stop.as_str())?;
            Some((start + stop.len(), start))
        });
        found.min().map(|(_, start)| start)
    }

    /// Length of the longest end of `held` that begins a stop string.
    fn unsure_bytes(&self) -> usize {
        let longest = |stop: &String| {
            let ends = stop.char_indices().map(|(at, _)| at).rev();
            ends.into_iter()
                .find(|n| self.held.ends_with(&stop[..*n]))
                .unwrap_or(0)
        };
        self.stops.iter().map(longest).max().unwrap_or(0)
    }
}

/// Takes the whole characters from the front; bytes that are in no character become U+FFFD, as
/// [`String::from_utf8_lossy`] does. What may be the beginning of a character stays.
fn take_characters(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut from = 0;
    loop {
        match std::str::from_utf8(&bytes[from..]) {
            Ok(valid) => {
                text.push_str(valid);
                from = bytes.len();
                break;
            }
            Err(e) => {
                let valid = &bytes[from..from + e.valid_up_to()];
                text.push_str(&String::from_utf8_lossy(valid));
                from += e.valid_up_to();
                let Some(invalid) = e.error_len() else { break };
                text.push(char::REPLACEMENT_CHARACTER);
                from += invalid;
            }
        }
    }
    bytes.drain(..from);
    text
}
