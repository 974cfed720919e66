//! One conversation's cache and the decode loop.

use crate::{Error, Result, backend::Backend, platform, sampler::Sampling};
use std::ops::ControlFlow;

/// A backend, and what its caches hold.
#[derive(Debug)]
pub struct Session {
    backend: Backend,
    /// Capacity in tokens.
    context: usize,
    vocab: usize,
    /// The tokens whose keys and values lie in the caches, from position 0.
    cached: Vec<u32>,
}

/// What happens while a session runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// `done` of `total` prompt tokens have been read.
    Prefill {
        /// Read so far, without those that were in the cache.
        done: usize,
        /// To be read.
        total: usize,
    },
    /// A token was drawn.
    Token(u32),
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The callback said so.
    Broken,
    /// `max_tokens` were drawn.
    Length,
    /// The context has no room for another token.
    ContextFull,
}

/// Counts and times of one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// Why it ended.
    pub end: End,
    /// Prompt tokens found in the cache.
    pub n_reused: usize,
    /// Tokens drawn.
    pub n_generated: usize,
    /// From the start to the first token.
    pub prefill_ms: f64,
    /// From the first token to the end.
    pub decode_ms: f64,
}

impl Session {
    /// A session over an empty cache of `context` tokens.
    pub fn new(backend: Backend, context: usize, vocab: usize) -> Self {
        Self {
            backend,
            context,
            vocab,
            cached: Vec::new(),
        }
    }

    /// Capacity in tokens.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Size of the vocabulary.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// Takes the cache for empty: something else is about to be written there.
    pub fn forget(&mut self) {
        self.cached.clear();
    }

    /// The backend, for figures and tests.
    pub fn backend(&mut self) -> &mut Backend {
        &mut self.backend
    }

    /// Reads `prompt` (whatever its beginning shares with the cache is not read again), then draws up to
    /// `max_tokens` tokens, telling `on_tick` of each. When that breaks, or this fails between two tokens,
    /// the cache keeps what was computed.
    ///
    /// # Errors
    /// [`Error::ContextFull`] when the prompt leaves no room for a token, [`Error::BadRequest`] for an empty
    /// prompt or a token outside the vocabulary, and what the GPU fails with.
    pub async fn run(
        &mut self,
        prompt: &[u32],
        sampling: &Sampling,
        max_tokens: usize,
        on_tick: &mut dyn FnMut(Tick) -> ControlFlow<()>,
    ) -> Result<Run> {
        self.check(prompt)?;
        let start = platform::now_ms();
        self.backend.discard();
        self.backend.begin(sampling, &self.bitset(prompt));
        let n_reused = self.reuse(prompt);
        let mut run = Run {
            end: End::Length,
            n_reused,
            n_generated: 0,
            prefill_ms: 0.0,
            decode_ms: 0.0,
        };
        if self.prefill(prompt, on_tick).await?.is_break() {
            run.end = End::Broken;
            run.prefill_ms = platform::now_ms() - start;
            return Ok(run);
        }
        let mut first = None;
        let mut on_token = |token| {
            first.get_or_insert_with(platform::now_ms);
            on_tick(Tick::Token(token))
        };
        (run.end, run.n_generated) = self.decode(prompt.len(), max_tokens, &mut on_token).await?;
        let end = platform::now_ms();
        run.prefill_ms = first.unwrap_or(end) - start;
        run.decode_ms = end - first.unwrap_or(end);
        Ok(run)
    }

    fn check(&self, prompt: &[u32]) -> Result<()> {
        if prompt.is_empty() {
            return Err(Error::BadRequest(
                "the prompt is empty; write something first".into(),
            ));
        }
        if prompt.len() >= self.context {
            return Err(Error::ContextFull {
                needed: prompt.len() + 1,
                context: self.context,
            });
        }
        match prompt.iter().find(|&&token| token as usize >= self.vocab) {
            Some(token) => Err(Error::BadRequest(format!(
                "the tokenizer gave token {token}, and the model's vocabulary ends at {}; the two do not belong together",
                self.vocab
            ))),
            None => Ok(()),
        }
    }

    fn bitset(&self, tokens: &[u32]) -> Vec<u32> {
        let mut bits = vec![0; self.vocab.div_ceil(32)];
        for &token in tokens {
            bits[token as usize / 32] |= 1 << (token % 32);
        }
        bits
    }

    /// Keeps the part of the cache that the prompt begins with, less one token: the last must run to give
    /// logits.
    fn reuse(&mut self, prompt: &[u32]) -> usize {
        let common = self
            .cached
            .iter()
            .zip(prompt)
            .take_while(|(a, b)| a == b)
            .count();
        self.cached.truncate(common.min(prompt.len() - 1));
        self.cached.len()
    }

    async fn prefill(
        &mut self,
        prompt: &[u32],
        on_tick: &mut dyn FnMut(Tick) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let (start, end) = (self.cached.len(), prompt.len());
        for chunk in prompt[start..].chunks(self.backend.chunk()) {
            let pos = self.cached.len();
            let is_last = pos + chunk.len() == end;
            self.backend.prefill(pos, chunk, is_last)?;
            self.cached.extend_from_slice(chunk);
            if !is_last {
                self.backend.settle().await?;
            }
            platform::yield_now().await;
            let tick = Tick::Prefill {
                done: pos + chunk.len() - start,
                total: end - start,
            };
            if on_tick(tick).is_break() {
                self.backend.discard();
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Fetches draws while the next steps are already queued behind them. The token drawn first belongs at
    /// position `start`.
    async fn decode(
        &mut self,
        start: usize,
        max_tokens: usize,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<(End, usize)> {
        let limit = max_tokens.max(1).min(self.context - start);
        let mut drawn = Vec::new();
        let mut queued = 1;
        let mut end = if limit < max_tokens {
            End::ContextFull
        } else {
            End::Length
        };
        'run: while drawn.len() < limit {
            while queued < limit && self.backend.in_flight() <= self.backend.submits_ahead() {
                queued += self.backend.decode(start + queued - 1, limit - queued)?;
            }
            let tokens = self.backend.drawn().await?;
            platform::yield_now().await;
            for token in tokens {
                drawn.push(token);
                if on_token(token).is_break() {
                    end = End::Broken;
                    break 'run;
                }
            }
        }
        self.backend.discard();
        // A drawn token is in the cache once the step that it feeds was queued.
        self.cached.extend(drawn.iter().take(queued - 1));
        Ok((end, drawn.len()))
    }
}
