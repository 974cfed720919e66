//! The part of the state that concerns questions and answers.

use super::{Answer, Chat, Command, Ending, Figures};
use crate::protocol::{JobId, Reason, Request, Role, Stats, Turn};

impl Chat {
    pub(super) fn submit(&mut self, text: String, now_ms: f64) -> Vec<Command> {
        if text.trim().is_empty() || self.why_not_ask().is_some() {
            return vec![];
        }
        self.push(Role::User, text.trim_end().to_owned());
        let mut commands = vec![Command::ClearDraft];
        commands.extend(self.generate(now_ms));
        commands
    }

    /// Asks for an answer to the transcript as it stands.
    pub(super) fn generate(&mut self, now_ms: f64) -> Vec<Command> {
        let id = self.next_job();
        let messages = self.turns();
        let key = self.push(Role::Assistant, String::new());
        self.banner = None;
        self.figures.tokens_per_second = None;
        self.figures.first_token_ms = None;
        self.answer = Some(Answer {
            id,
            key,
            stopping: false,
            prefill: None,
            started_ms: now_ms,
            first_ms: None,
            n_pieces: 0,
        });
        vec![Command::Send(Request::Generate {
            id,
            messages,
            sampling: self.sampling(),
            max_tokens: self.settings.max_tokens,
        })]
    }

    /// The conversation as the model reads it.
    pub(super) fn turns(&self) -> Vec<Turn> {
        let system = self.settings.system_prompt.trim();
        let system = (!system.is_empty()).then(|| Turn {
            role: Role::System,
            content: system.to_owned(),
        });
        let said = self.messages.iter().filter(|m| !m.text.is_empty());
        system
            .into_iter()
            .chain(said.map(|m| Turn {
                role: m.role,
                content: m.text.clone(),
            }))
            .collect()
    }

    pub(super) fn stop(&mut self) -> Vec<Command> {
        let Some(answer) = &mut self.answer else {
            return vec![];
        };
        answer.stopping = true;
        vec![Command::Send(Request::Stop { id: answer.id })]
    }

    pub(super) fn answer_again(&mut self, now_ms: f64) -> Vec<Command> {
        if self.why_not_ask().is_some() {
            return vec![];
        }
        if self
            .messages
            .last()
            .is_some_and(|m| m.role == Role::Assistant)
        {
            self.messages.pop();
        }
        if self.messages.last().is_none_or(|m| m.role != Role::User) {
            return vec![];
        }
        self.generate(now_ms)
    }

    pub(super) fn edit(&mut self, key: u32) -> Vec<Command> {
        let Some(at) = self
            .messages
            .iter()
            .position(|m| m.key == key && m.role == Role::User)
        else {
            return vec![];
        };
        let commands = self.abandon_answer();
        let text = self.messages.swap_remove(at).text;
        self.messages.truncate(at);
        self.banner = None;
        commands.into_iter().chain([Command::Draft(text)]).collect()
    }

    pub(super) fn new_chat(&mut self) -> Vec<Command> {
        let commands = self.abandon_answer();
        self.messages.clear();
        self.banner = None;
        self.figures = Figures::default();
        commands
    }

    /// Stops listening to the answer that is being written; its text stays.
    pub(super) fn abandon_answer(&mut self) -> Vec<Command> {
        let Some(id) = self.answer.as_ref().map(|a| a.id) else {
            return vec![];
        };
        self.finish(Ending::Reason(Reason::Stopped));
        vec![Command::Send(Request::Stop { id })]
    }

    pub(super) fn written(&mut self, id: JobId, text: &str, n_pieces: u32, now_ms: f64) {
        let Some(answer) = self.answering(id) else {
            return;
        };
        answer.n_pieces += n_pieces;
        answer.prefill = None;
        let first_ms = *answer.first_ms.get_or_insert(now_ms);
        let (key, so_far, started_ms) = (answer.key, answer.n_pieces, answer.started_ms);
        self.figures.first_token_ms = Some(first_ms - started_ms);
        self.figures.context_used = self.figures.context_used.map(|n| n + n_pieces);
        // The pieces after the first, over the time that they took: close to tokens, till the engine counts.
        if so_far > 4 && now_ms > first_ms {
            self.figures.tokens_per_second =
                Some(f64::from(so_far - 1) * 1e3 / (now_ms - first_ms));
        }
        if let Some(message) = self.messages.iter_mut().find(|m| m.key == key) {
            message.text += text;
        }
    }

    pub(super) fn done(&mut self, id: JobId, reason: Reason, stats: Stats) {
        if self.answering(id).is_none() {
            return;
        }
        self.figures.tokens_per_second =
            stats.tokens_per_second().or(self.figures.tokens_per_second);
        self.figures.context_used = Some(stats.n_prompt + stats.n_generated);
        self.figures.last = Some(stats);
        self.finish(Ending::Reason(reason));
    }

    /// The answer is over. One without text leaves nothing behind when it was stopped or failed.
    pub(super) fn finish(&mut self, end: Ending) {
        let Some(answer) = self.answer.take() else {
            return;
        };
        let Some(at) = self.messages.iter().position(|m| m.key == answer.key) else {
            return;
        };
        let kept = matches!(end, Ending::Reason(r) if r != Reason::Stopped);
        if self.messages[at].text.is_empty() && !kept {
            self.messages.remove(at);
        } else {
            self.messages[at].end = Some(end);
        }
    }
}
