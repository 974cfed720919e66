//! A conversation into an answer.

use super::{Worker, flow, memory_bytes, send};
use crate::protocol::{Event, JobId, Reason, Role, Sampling, Stats, Turn};
use engine::{Generation, Message, Prompt};

impl Worker {
    /// Answers, and says so as it goes.
    pub async fn generate(
        &self,
        id: JobId,
        messages: Vec<Turn>,
        sampling: Sampling,
        max_tokens: u32,
    ) {
        let Some(mut engine) = self.take_engine(id) else {
            return;
        };
        let prompt = prompt(messages, engine.info().has_template);
        if let Ok(tokens) = engine.tokens(&prompt) {
            send(&Event::Reading {
                id,
                n_prompt: tokens.len() as u32,
            });
        }
        let generation = Generation {
            sampling: self::sampling(sampling),
            max_tokens: max_tokens as usize,
            stop: Vec::new(),
        };
        let mut writing = Writing::new(id);
        let mut on_event = |event| {
            match event {
                engine::Event::Prefill { done, total } => send(&Event::Prefill {
                    id,
                    done: done as u32,
                    total: total as u32,
                }),
                engine::Event::Text(text) => writing.add(&text),
            }
            flow(!self.is_stopped(id))
        };
        let finished = engine.generate(&prompt, &generation, &mut on_event).await;
        writing.send();
        let event = match finished {
            Ok(finished) => Event::Done {
                id,
                reason: reason(finished.reason),
                stats: stats(&finished),
            },
            Err(engine::Error::Stopped) => Event::Done {
                id,
                reason: Reason::Stopped,
                stats: Stats::default(),
            },
            Err(e) => failure(id, &e),
        };
        self.put_back(engine, &event);
        send(&event);
    }
}

/// At most this often the page is told of text. It draws anew each time, which takes a processor longer than many a
/// token does, and where there is no GPU it is the model's processor.
const EVERY_MS: f64 = 50.0;

/// Text on its way to the page.
struct Writing {
    id: JobId,
    text: String,
    n_pieces: u32,
    sent_ms: f64,
}

impl Writing {
    fn new(id: JobId) -> Self {
        Self {
            id,
            text: String::new(),
            n_pieces: 0,
            sent_ms: f64::NEG_INFINITY,
        }
    }

    fn add(&mut self, text: &str) {
        self.text += text;
        self.n_pieces += 1;
        if js_sys::Date::now() - self.sent_ms >= EVERY_MS {
            self.send();
        }
    }

    fn send(&mut self) {
        if self.n_pieces > 0 {
            send(&Event::Text {
                id: self.id,
                text: std::mem::take(&mut self.text),
                n_pieces: std::mem::take(&mut self.n_pieces),
            });
            self.sent_ms = js_sys::Date::now();
        }
    }
}

/// Why a job failed, and whether the model survived that.
pub fn failure(id: JobId, e: &engine::Error) -> Event {
    use engine::Error::{DeviceLost, OutOfMemory};
    Event::Failed {
        id,
        message: e.to_string(),
        model_usable: !matches!(e, DeviceLost(_) | OutOfMemory(_)),
    }
}

/// A model without a template goes on with the text as it stands.
fn prompt(messages: Vec<Turn>, has_template: bool) -> Prompt {
    if !has_template {
        return Prompt::Text(
            messages
                .into_iter()
                .map(|turn| turn.content)
                .collect::<Vec<_>>()
                .join("\n"),
        );
    }
    let message = |turn: Turn| Message {
        role: match turn.role {
            Role::System => engine::Role::System,
            Role::User => engine::Role::User,
            Role::Assistant => engine::Role::Assistant,
        },
        content: turn.content,
    };
    Prompt::Chat(messages.into_iter().map(message).collect())
}

fn sampling(s: Sampling) -> engine::sampler::Sampling {
    engine::sampler::Sampling {
        temperature: s.temperature,
        top_k: s.top_k,
        top_p: s.top_p,
        min_p: s.min_p,
        repetition_penalty: s.repetition_penalty,
        seed: s
            .seed
            .unwrap_or_else(|| (js_sys::Math::random() * f64::from(u32::MAX)) as u32),
    }
}

fn reason(reason: engine::Reason) -> Reason {
    match reason {
        engine::Reason::EndOfText | engine::Reason::StopString => Reason::EndOfText,
        engine::Reason::Length => Reason::Length,
        engine::Reason::ContextFull => Reason::ContextFull,
        engine::Reason::Stopped => Reason::Stopped,
    }
}

fn stats(finished: &engine::Finished) -> Stats {
    Stats {
        n_prompt: finished.n_prompt as u32,
        n_reused: finished.n_reused as u32,
        n_generated: finished.n_generated as u32,
        prefill_ms: finished.prefill_ms,
        decode_ms: finished.decode_ms,
        memory_bytes: memory_bytes(),
    }
}
