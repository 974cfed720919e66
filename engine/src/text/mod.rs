//! Text to tokens and back: the tokenizer, the chat template, and the text that streams out.

pub mod chat;
pub mod stream;
pub mod tokenizer;

mod added_tokens;
mod dates;
mod gguf_vocabulary;
mod pipeline;
mod pre_tokenizers;
mod steps;

pub use chat::{ChatTemplate, Message, Role};
pub use stream::TokenStream;
pub use tokenizer::Tokenizer;
