//! Chat templates: a conversation as the text that the model was trained on.
//!
//! Templates are Jinja, rendered here as `transformers` does it: `trim_blocks` and `lstrip_blocks`, Python's
//! string methods, `raise_exception`, `strftime_now` and Python's `tojson`.

use std::collections::BTreeMap;

use minijinja::{
    Environment, Error as JinjaError, ErrorKind, Output, State, Value, context,
    value::{Kwargs, Rest, ValueKind},
};
use serde::Serialize;

use super::{Tokenizer, dates::strftime};
use crate::{Error, Result, platform, weights::metadata::Metadata};

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that come before the conversation.
    System,
    /// The visitor.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Message {
    /// Who wrote it.
    pub role: Role,
    /// Its text.
    pub content: String,
}

impl Message {
    /// A message.
    pub fn new(role: Role, content: impl Into<String>) -> Message {
        Message {
            role,
            content: content.into(),
        }
    }
}

/// A model's chat template, parsed once to see that it holds.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    /// `bos_token`, `eos_token`, …
    tokens: BTreeMap<String, String>,
}

/// Instructions that a template may run, so that none can hang the page; real ones take some thousands.
const FUEL: u64 = 20_000_000;

impl ChatTemplate {
    /// Parses a template. `tokens`: the special tokens that it may name, [`Tokenizer::names`].
    ///
    /// # Errors
    /// [`Error::Template`] with the line where it does not hold.
    pub fn new(source: &str, tokens: &BTreeMap<String, String>) -> Result<ChatTemplate> {
        let template = ChatTemplate {
            source: without_generation_tags(source),
            tokens: tokens.clone(),
        };
        environment()
            .template_from_str(&template.source)
            .map_err(failed)?;
        Ok(template)
    }

    /// The template in a GGUF's metadata; none in a base model's.
    ///
    /// # Errors
    /// As [`ChatTemplate::new`].
    pub fn from_gguf(metadata: &Metadata, tokenizer: &Tokenizer) -> Result<Option<ChatTemplate>> {
        let source = metadata.optional("tokenizer.chat_template", Metadata::str)?;
        source
            .map(|s| ChatTemplate::new(s, tokenizer.names()))
            .transpose()
    }

    /// The template of a Hugging Face checkpoint: `chat_template.jinja`, or `chat_template` in
    /// `tokenizer_config.json` (one text, or several by name, of which `default` is taken).
    ///
    /// # Errors
    /// As [`ChatTemplate::new`]; also when several are named and none is `default`.
    pub fn from_hf(
        tokenizer_config: Option<&[u8]>,
        jinja: Option<&[u8]>,
        tokenizer: &Tokenizer,
    ) -> Result<Option<ChatTemplate>> {
        if let Some(jinja) = jinja {
            let source = std::str::from_utf8(jinja)
                .map_err(|_| Error::Template("chat_template.jinja is not UTF-8".into()))?;
            return ChatTemplate::new(source, tokenizer.names()).map(Some);
        }
        #[derive(serde::Deserialize)]
        struct Config {
            chat_template: Option<Templates>,
        }
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Templates {
            One(String),
            Named(Vec<Named>),
        }
        #[derive(serde::Deserialize)]
        struct Named {
            name: String,
            template: String,
        }
        let Some(config) = tokenizer_config else {
            return Ok(None);
        };
        let config: Config = serde_json::from_slice(config).map_err(|e| {
            Error::Template(format!(
                "chat_template in tokenizer_config.json does not hold: {e}"
            ))
        })?;
        let source = match config.chat_template {
            None => return Ok(None),
            Some(Templates::One(source)) => source,
            Some(Templates::Named(named)) => {
                let default = named.into_iter().find(|t| t.name == "default");
                default
                    .ok_or_else(|| {
                        Error::Template(
                            "tokenizer_config.json has several, and none is named 'default'".into(),
                        )
                    })?
                    .template
            }
        };
        ChatTemplate::new(&source, tokenizer.names()).map(Some)
    }

    /// The conversation as text; `add_generation_prompt` ends it with the beginning of the model's answer.
    ///
    /// # Errors
    /// [`Error::Template`] with the line, or with the template's own words where it refuses the conversation.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let env = environment();
        let template = env.template_from_str(&self.source).map_err(failed)?;
        let tokens = Value::from_serialize(&self.tokens);
        let none = Value::from(());
        // `transformers` passes tools and documents too, as None where there are none.
        template
            .render(context! { messages, add_generation_prompt, tools => none, documents => none, ..tokens })
            .map_err(failed)
    }
}

/// Jinja as `transformers` sets it up.
fn environment() -> Environment<'static> {
    let mut env = Environment::new();
    env.set_trim_blocks(true);
    env.set_lstrip_blocks(true);
    env.set_fuel(Some(FUEL));
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.set_formatter(python_formatter);
    env.add_filter("tojson", python_json);
    env.add_function("strftime_now", |format: &str| {
        strftime(format, platform::unix_seconds())
    });
    env.add_function(
        "raise_exception",
        |message: String| -> Result<Value, JinjaError> {
            Err(JinjaError::new(
                ErrorKind::InvalidOperation,
                format!("{REFUSAL}{message}"),
            ))
        },
    );
    env
}

/// Marks a message of the template's author.
const REFUSAL: &str = "it refuses this conversation: ";

/// Python writes `True`, `False` and `None` where Jinja in Rust writes `true`, `false` and `none`.
fn python_formatter(out: &mut Output, state: &State, value: &Value) -> Result<(), JinjaError> {
    match value.kind() {
        ValueKind::Bool => out
            .write_str(if value.is_true() { "True" } else { "False" })
            .map_err(JinjaError::from),
        ValueKind::None => out.write_str("None").map_err(JinjaError::from),
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// `json.dumps(value, ensure_ascii=False, indent=indent)`: Python puts a blank behind commas and colons.
fn python_json(value: &Value, _: Rest<Value>, kwargs: Kwargs) -> Result<Value, JinjaError> {
    struct Python;
    impl serde_json::ser::Formatter for Python {
        fn begin_array_value<W: ?Sized + std::io::Write>(
            &mut self,
            w: &mut W,
            first: bool,
        ) -> std::io::Result<()> {
            w.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_key<W: ?Sized + std::io::Write>(
            &mut self,
            w: &mut W,
            first: bool,
        ) -> std::io::Result<()> {
            w.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_value<W: ?Sized + std::io::Write>(
            &mut self,
            w: &mut W,
        ) -> std::io::Result<()> {
            w.write_all(b": ")
        }
    }
    let indent: Option<usize> = kwargs.get("indent")?;
    let mut json = Vec::new();
    let written = match indent {
        None => value.serialize(&mut serde_json::Serializer::with_formatter(
            &mut json, Python,
        )),
        Some(n) => {
            let blanks = vec![b' '; n.min(16)];
            let pretty = serde_json::ser::PrettyFormatter::with_indent(&blanks);
            value.serialize(&mut serde_json::Serializer::with_formatter(
                &mut json, pretty,
            ))
        }
    };
    written.map_err(|e| JinjaError::new(ErrorKind::BadSerialization, e.to_string()))?;
    Ok(Value::from(String::from_utf8_lossy(&json).into_owned()))
}

/// `{% generation %}` marks the model's words for training; here it only groups, as `{% if true %}` does.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::new();
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else {
            break;
        };
        let (tag, after) = rest[start..].split_at(length + 2);
        out.push_str(&rest[..start]);
        let word = tag[2..length].trim_matches(['-', '+', ' ', '\t', '\n', '\r']);
        out.push_str(&match word {
            "generation" => tag.replace(word, "if true"),
            "endgeneration" => tag.replace(word, "endif"),
            _ => tag.to_string(),
        });
        rest = after;
    }
    out + rest
}

fn failed(e: JinjaError) -> Error {
    let detail = e
        .detail()
        .map_or_else(|| e.kind().to_string(), |d| format!("{}: {d}", e.kind()));
    let said = detail
        .split_once(REFUSAL)
        .map(|(_, message)| format!("{REFUSAL}{message}"));
    let problem = said.unwrap_or(detail);
    Error::Template(match e.line() {
        Some(line) => format!("{problem} (line {line})"),
        None => problem,
    })
}
