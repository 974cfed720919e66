//! The part of the state that concerns getting a model, keeping it, and losing it.

use super::{Banner, Chat, Command, Ending, Model, Offers, Remedy};
use crate::protocol::{
    BUILD, BackendChoice, Info, JobId, ModelRef, Offer, Phase, Reason, Remote, Request,
};
use hub::Repository;
use std::collections::VecDeque;

/// A model on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Loading {
    /// The job.
    pub id: JobId,
    /// The model's name.
    pub name: String,
    /// What is being done.
    pub phase: Phase,
    /// Bytes so far.
    pub done_bytes: u64,
    /// Bytes in all, where known.
    pub total_bytes: Option<u64>,
    /// Something worth knowing.
    pub note: Option<String>,
    /// `(ms, bytes)` of the last seconds of this phase.
    recent: VecDeque<(f64, u64)>,
}

impl Loading {
    /// How far back the speed looks.
    const WINDOW_MS: f64 = 3000.0;

    fn new(id: JobId, model: &ModelRef) -> Self {
        let (phase, total_bytes) = match model {
            ModelRef::Remote(remote) => (Phase::Downloading, remote.size()),
            ModelRef::Local { bytes, .. } => (Phase::Loading, Some(*bytes)),
        };
        Self {
            id,
            name: model.name().to_owned(),
            phase,
            done_bytes: 0,
            total_bytes,
            note: None,
            recent: VecDeque::new(),
        }
    }

    pub(super) fn progress(&mut self, phase: Phase, done: u64, total: Option<u64>, now_ms: f64) {
        if phase != self.phase {
            self.recent.clear();
        }
        self.phase = phase;
        self.done_bytes = done;
        self.total_bytes = total.or(self.total_bytes);
        self.recent.push_back((now_ms, done));
        while self
            .recent
            .front()
            .is_some_and(|&(ms, _)| now_ms - ms > Self::WINDOW_MS)
        {
            self.recent.pop_front();
        }
    }

    /// Share done, 0 to 1, where the whole is known.
    pub fn fraction(&self) -> Option<f64> {
        let total = self.total_bytes.filter(|&t| t > 0)?;
        Some((self.done_bytes as f64 / total as f64).min(1.0))
    }

    /// Over the last seconds; `None` until there is enough to tell.
    pub fn bytes_per_second(&self) -> Option<f64> {
        let (&(t0, b0), &(t1, b1)) = (self.recent.front()?, self.recent.back()?);
        (t1 - t0 > 250.0 && b1 > b0).then(|| (b1 - b0) as f64 * 1e3 / (t1 - t0))
    }
}

impl Chat {
    /// The load with this job's number, if it is the current one.
    pub(super) fn loading(&mut self, id: JobId) -> Option<&mut Loading> {
        match &mut self.model {
            Model::Loading(loading) if loading.id == id => Some(loading),
            _ => None,
        }
    }

    pub(super) fn load(&mut self, model: ModelRef, now_ms: f64) -> Vec<Command> {
        self.wanted = Some(model);
        self.load_again(now_ms)
    }

    pub(super) fn load_repository(&mut self, text: &str, now_ms: f64) -> Vec<Command> {
        match Repository::parse(text, self.site()) {
            Ok(repository) => {
                let remote = Remote::hub(repository, self.site().to_owned());
                self.load(ModelRef::Remote(remote), now_ms)
            }
            Err(problem) => self.complain(sentence(&problem)),
        }
    }

    pub(super) fn unload(&mut self) -> Vec<Command> {
        if !matches!(self.model, Model::Ready(_)) {
            return vec![];
        }
        let mut commands = self.abandon_answer();
        commands.extend(self.abandon_bench());
        self.model = Model::Absent;
        commands.push(Command::Send(Request::Unload));
        commands
    }

    /// Asks which models there are.
    pub(super) fn ask_catalog(&self) -> Command {
        let site = self.site().to_owned();
        Command::Send(Request::Catalog { site })
    }

    /// Loads what was asked for last, with the settings of now.
    pub(super) fn load_again(&mut self, _now_ms: f64) -> Vec<Command> {
        let Some(model) = self.wanted.clone() else {
            return vec![];
        };
        let mut commands = self.abandon_answer();
        commands.extend(self.abandon_bench());
        commands.extend(self.cancel_load());
        let id = self.next_job();
        self.banner = None;
        self.model = Model::Loading(Loading::new(id, &model));
        commands.push(Command::Send(Request::Load {
            id,
            model,
            backend: self.settings.backend,
            context: self.settings.context,
            precision: self.settings.precision,
            threads: self.launch.threads,
        }));
        commands
    }

    pub(super) fn cancel_load(&mut self) -> Vec<Command> {
        let Model::Loading(loading) = &self.model else {
            return vec![];
        };
        let id = loading.id;
        self.model = Model::Absent;
        vec![Command::Send(Request::Stop { id })]
    }

    pub(super) fn hello(&mut self, build: &str) {
        if build != BUILD {
            let text = "Thimble was updated while this page was open, or your browser kept an old part of it. Load the page again; your draft stays.";
            self.banner = Some(Banner {
                text: text.to_owned(),
                remedies: vec![Remedy::ReloadPage],
            });
        }
    }

    pub(super) fn offer(&mut self, mut models: Vec<Offer>, now_ms: f64) -> Vec<Command> {
        if let Some(asked) = &self.launch.model {
            let unlisted = self.unlisted(asked);
            let at = models
                .iter()
                .position(|o| o.model.id == *asked || o.model.place == unlisted.place);
            let offer = at.map(|at| models.remove(at));
            models.insert(
                0,
                offer.unwrap_or(Offer {
                    model: unlisted,
                    stored: false,
                }),
            );
        }
        // What the address asks for, else what was there last.
        let first = models.first().filter(|_| self.launch.model.is_some());
        let last = |o: &&Offer| o.stored && Some(&o.model.id) == self.launch.last_model.as_ref();
        let first = first.or(models.iter().find(last)).or(models.first());
        let first = first.cloned();
        let again = matches!(self.offers, Offers::Known(_));
        self.offers = Offers::Known(models);
        match first {
            Some(offer) if !again && self.model == Model::Absent && self.loads_unasked(&offer) => {
                self.load(ModelRef::Remote(offer.model), now_ms)
            }
            _ => vec![],
        }
    }

    /// A model that is on this device costs nobody a download, and one that comes with the page hardly anything.
    fn loads_unasked(&self, offer: &Offer) -> bool {
        let costs_little = offer.stored || offer.model.bundled;
        self.launch.autoload.unwrap_or(costs_little)
    }

    /// A model that the address asks for and the catalog does not know.
    fn unlisted(&self, asked: &str) -> Remote {
        match Repository::unless_path(asked, self.site()) {
            Some(repository) => Remote::hub(repository, self.site().to_owned()),
            None => Remote::file(asked),
        }
    }

    pub(super) fn no_catalog(&mut self, message: String, now_ms: f64) -> Vec<Command> {
        if self.launch.model.is_some() {
            return self.offer(vec![], now_ms);
        }
        self.offers = Offers::Unknown(message);
        vec![]
    }

    /// The catalog's name for a model is kinder than the one inside its file.
    pub(super) fn ready(&mut self, mut info: Info) -> Vec<Command> {
        let mut commands = vec![];
        if let Some(ModelRef::Remote(remote)) = &self.wanted {
            info.name.clone_from(&remote.name);
            commands.push(Command::SaveModel(remote.id.clone()));
        }
        self.model = Model::Ready(info);
        self.banner = None;
        self.mark_stored();
        commands
    }

    /// After a load from the network the model is on this device (or the note said that it is not).
    fn mark_stored(&mut self) {
        let Some(ModelRef::Remote(wanted)) = &self.wanted else {
            return;
        };
        let stored = Offer {
            model: wanted.clone(),
            stored: true,
        };
        match &mut self.offers {
            Offers::Known(offers) => {
                match offers.iter_mut().find(|o| o.model.place == wanted.place) {
                    Some(offer) => offer.stored = true,
                    None => offers.push(stored),
                }
            }
            offers => *offers = Offers::Known(vec![stored]),
        }
    }

    pub(super) fn failed(&mut self, id: JobId, message: String, model_usable: bool) {
        let of_load = self.loading(id).is_some();
        let of_answer = self.answering(id).is_some();
        let of_bench = self.measuring(id).is_some();
        if !of_load && !of_answer && !of_bench {
            return;
        }
        self.finish(Ending::Failed);
        self.bench.running = None;
        let mut remedies = match model_usable {
            false => vec![Remedy::LoadAgain],
            // Its button is still there.
            true if of_bench => vec![],
            true if of_answer => vec![Remedy::AnswerAgain],
            true => vec![Remedy::LoadAgain],
        };
        if !model_usable {
            self.model = Model::Absent;
            if self.settings.backend != BackendChoice::Cpu && message.contains("GPU") {
                remedies.push(Remedy::UseCpu);
            }
        }
        self.banner = Some(Banner {
            text: sentence(&message),
            remedies,
        });
    }

    pub(super) fn crashed(&mut self, message: &str) -> Vec<Command> {
        self.finish(Ending::Failed);
        self.bench.running = None;
        self.model = Model::Absent;
        let text = format!(
            "The engine stopped unexpectedly ({message}). The conversation and your draft are still here."
        );
        let remedies = if self.wanted.is_some() {
            vec![Remedy::LoadAgain]
        } else {
            vec![Remedy::ReloadPage]
        };
        self.banner = Some(Banner { text, remedies });
        if self.offers == Offers::Asking {
            self.offers = Offers::Unknown("The list of models could not be read.".to_owned());
        }
        vec![Command::DropWorker]
    }

    pub(super) fn remedy(&mut self, remedy: Remedy, now_ms: f64) -> Vec<Command> {
        match remedy {
            Remedy::LoadAgain => self.load_again(now_ms),
            Remedy::AnswerAgain => self.answer_again(now_ms),
            Remedy::UseCpu => {
                self.settings.backend = BackendChoice::Cpu;
                self.load_again(now_ms)
            }
            Remedy::ReloadPage => vec![Command::ReloadPage],
        }
    }

    /// What to say under an answer that did not end by itself.
    pub fn remark(end: Ending) -> Option<&'static str> {
        match end {
            Ending::Reason(Reason::EndOfText) => None,
            Ending::Reason(Reason::Stopped) => Some("Stopped."),
            Ending::Reason(Reason::Length) => {
                Some("Ended at the longest answer that the settings allow.")
            }
            Ending::Reason(Reason::ContextFull) => Some(
                "The context is full. Start a new chat, or raise the context length in the settings.",
            ),
            Ending::Failed => Some("Broken off by an error."),
        }
    }
}

/// Begins with a capital, unless it begins with a file's name or an address; ends with a full stop.
fn sentence(text: &str) -> String {
    let text = text.trim();
    let word = text.split(' ').next().unwrap_or_default();
    let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
    let first = if word.contains(['.', '/']) {
        first.to_owned()
    } else {
        first.to_uppercase()
    };
    let stop = if text.ends_with(['.', '!', '?', '…']) {
        ""
    } else {
        "."
    };
    format!("{first}{rest}{stop}")
}
