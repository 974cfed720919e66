//! The whole state of the page, as a reducer: what the visitor does and what the worker says go in,
//! what is to be done comes out. No DOM, no clock, no storage: tests run on any machine.

mod answer;
mod bench;
mod load;
#[cfg(test)]
mod tests;

use crate::protocol::{
    Event, Info, JobId, ModelRef, Offer, Preferences, Reason, Request, Role, Sampling, Stats,
};
use crate::settings::{Launch, Settings};
pub use bench::{Bench, Measuring};
pub use load::Loading;

/// The page's state.
#[derive(Debug, Clone, PartialEq)]
pub struct Chat {
    /// What the visitor set.
    pub settings: Settings,
    /// Which models are offered.
    pub offers: Offers,
    /// Where the model stands.
    pub model: Model,
    /// The transcript, oldest first.
    pub messages: Vec<Message>,
    /// The answer that is being written: the last message.
    pub answer: Option<Answer>,
    /// What went wrong last, until it is put right or dismissed.
    pub banner: Option<Banner>,
    /// The status line's figures.
    pub figures: Figures,
    /// Measuring the model.
    pub bench: Bench,
    /// What the address asked for.
    launch: Launch,
    /// The model that was asked for last: what "again" means.
    wanted: Option<ModelRef>,
    last_job: JobId,
    last_key: u32,
}

/// What the catalog says.
#[derive(Debug, Clone, PartialEq)]
pub enum Offers {
    /// Nothing yet.
    Asking,
    /// These can be loaded.
    Known(Vec<Offer>),
    /// It cannot be read; the sentence says why.
    Unknown(String),
}

/// Where the model stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Model {
    /// None.
    Absent,
    /// On its way.
    Loading(Loading),
    /// Ready to answer.
    Ready(Info),
}

/// One message of the transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Tells messages apart, for as long as the page lives.
    pub key: u32,
    /// Who speaks.
    pub role: Role,
    /// What was said so far.
    pub text: String,
    /// How the answer ended: `None` for questions and while it is written.
    pub end: Option<Ending>,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As the engine says.
    Reason(Reason),
    /// By an error; the banner says which.
    Failed,
}

/// An answer that is being written.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The job.
    pub id: JobId,
    /// The message that grows.
    pub key: u32,
    /// The visitor pressed stop.
    pub stopping: bool,
    /// Tokens of the question read, of how many.
    pub prefill: Option<(u32, u32)>,
    started_ms: f64,
    first_ms: Option<f64>,
    n_pieces: u32,
}

/// The status line's figures.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Of the current or last answer.
    pub tokens_per_second: Option<f64>,
    /// From sending the question to the first text.
    pub first_token_ms: Option<f64>,
    /// Tokens of the conversation so far.
    pub context_used: Option<u32>,
    /// The engine's figures of the last answer.
    pub last: Option<Stats>,
}

/// A sentence about what went wrong, and what can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Banner {
    /// The sentence.
    pub text: String,
    /// Buttons.
    pub remedies: Vec<Remedy>,
}

/// What a banner offers to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// Load the same model again.
    LoadAgain,
    /// Answer the last question again.
    AnswerAgain,
    /// Load the same model on the CPU.
    UseCpu,
    /// Load the page again.
    ReloadPage,
}

/// What the visitor does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The page is there.
    Start,
    /// Load this model.
    Load(ModelRef),
    /// Load a repository of the hub by what was typed or pasted.
    LoadRepository(String),
    /// Let go of the model, to choose another.
    Unload,
    /// Give up loading.
    CancelLoad,
    /// Ask.
    Submit(String),
    /// End the answer.
    Stop,
    /// Throw the last answer away and write another.
    AnswerAgain,
    /// Take a question back into the composer; what follows it goes.
    Edit(u32),
    /// Empty the transcript.
    NewChat,
    /// The settings changed.
    Settings(Settings),
    /// A banner's button.
    Remedy(Remedy),
    /// Close the banner.
    Dismiss,
    /// Something the page itself could not do.
    Complain(String),
    /// Delete the stored models.
    Forget,
    /// Measure the model.
    Measure,
    /// Give up measuring.
    StopMeasuring,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Tell the worker; start one if there is none.
    Send(Request),
    /// End the worker: it is of no more use.
    DropWorker,
    /// Put this text into the composer.
    Draft(String),
    /// The question was taken: empty the composer.
    ClearDraft,
    /// Store the settings.
    SaveSettings,
    /// Store which model is to be loaded at the next visit, by its id.
    SaveModel(String),
    /// Load the page again.
    ReloadPage,
}

impl Chat {
    /// A page that was just opened.
    pub fn new(mut settings: Settings, launch: Launch) -> Self {
        if let Some(backend) = launch.backend {
            settings.backend = backend;
        }
        Self {
            settings,
            offers: Offers::Asking,
            model: Model::Absent,
            messages: Vec::new(),
            answer: None,
            banner: None,
            figures: Figures::default(),
            bench: Bench::default(),
            launch,
            wanted: None,
            last_job: 0,
            last_key: 0,
        }
    }

    /// Takes in what the visitor did at `now_ms`.
    pub fn act(&mut self, action: Action, now_ms: f64) -> Vec<Command> {
        match action {
            Action::Start => vec![self.ask_catalog()],
            Action::Load(model) => self.load(model, now_ms),
            Action::LoadRepository(text) => self.load_repository(&text, now_ms),
            Action::Unload => self.unload(),
            Action::CancelLoad => self.cancel_load(),
            Action::Submit(text) => self.submit(text, now_ms),
            Action::Stop => self.stop(),
            Action::AnswerAgain => self.answer_again(now_ms),
            Action::Edit(key) => self.edit(key),
            Action::NewChat => self.new_chat(),
            Action::Settings(settings) => self.set(settings, now_ms),
            Action::Remedy(remedy) => self.remedy(remedy, now_ms),
            Action::Dismiss => {
                self.banner = None;
                vec![]
            }
            Action::Complain(text) => self.complain(text),
            Action::Forget => vec![Command::Send(Request::Forget), self.ask_catalog()],
            Action::Measure => self.measure(),
            Action::StopMeasuring => self.stop_measuring(),
        }
    }

    /// Takes in what the worker said at `now_ms`. Events of abandoned jobs change nothing.
    pub fn apply(&mut self, event: Event, now_ms: f64) -> Vec<Command> {
        match event {
            Event::Hello { build } => self.hello(&build),
            Event::Catalog { models } => return self.offer(models, now_ms),
            Event::NoCatalog { message } => return self.no_catalog(message, now_ms),
            Event::Progress {
                id,
                phase,
                done_bytes,
                total_bytes,
            } => {
                if let Some(loading) = self.loading(id) {
                    loading.progress(phase, done_bytes, total_bytes, now_ms);
                }
            }
            Event::Note { id, text } => {
                if let Some(loading) = self.loading(id) {
                    loading.note = Some(text);
                }
            }
            Event::Ready { id, info } => {
                if self.loading(id).is_some() {
                    return self.ready(info);
                }
            }
            Event::Stopped { id } => {
                if self.loading(id).is_some() {
                    self.model = Model::Absent;
                }
                if self.measuring(id).is_some() {
                    self.bench.running = None;
                }
            }
            Event::Reading { id, n_prompt } => {
                if self.answering(id).is_some() {
                    self.figures.context_used = Some(n_prompt);
                }
            }
            Event::Prefill { id, done, total } => {
                if let Some(answer) = self.answering(id) {
                    answer.prefill = Some((done, total));
                }
            }
            Event::Text { id, text, n_pieces } => self.written(id, &text, n_pieces, now_ms),
            Event::Done { id, reason, stats } => self.done(id, reason, stats),
            Event::Measuring {
                id,
                step,
                done,
                total,
            } => {
                if let Some(running) = self.measuring(id) {
                    (running.step, running.done, running.total) = (step, done, total);
                }
            }
            Event::Measured { id, report } => self.measured(id, report),
            Event::Failed {
                id,
                message,
                model_usable,
            } => self.failed(id, message, model_usable),
            Event::Crashed { message } => return self.crashed(&message),
        }
        vec![]
    }

    /// The text of a message.
    pub fn text(&self, key: u32) -> Option<&str> {
        self.messages
            .iter()
            .find(|m| m.key == key)
            .map(|m| m.text.as_str())
    }

    /// Why a question cannot be asked now; `None` if it can.
    pub fn why_not_ask(&self) -> Option<&'static str> {
        match (&self.model, &self.answer) {
            (Model::Absent, _) => Some("Load a model to start; your text stays here."),
            (Model::Loading(_), _) => Some("The model is loading; your text stays here."),
            (Model::Ready(_), Some(_)) => Some("An answer is being written."),
            (Model::Ready(_), None) => {
                let measuring = self.bench.running.is_some();
                measuring.then_some("The model is being measured; your text stays here.")
            }
        }
    }

    /// How tokens are drawn: as the visitor prefers, else as the model's author recommends.
    pub fn sampling(&self) -> Sampling {
        self.settings
            .sampling
            .or(self.recommended().in_range().or(Sampling::default()))
    }

    /// What the author of the model that is loaded recommends.
    pub fn recommended(&self) -> Preferences {
        match &self.model {
            Model::Ready(info) => info.recommended,
            _ => Preferences::default(),
        }
    }

    /// What the catalog says of the model that was asked for last.
    pub fn about(&self) -> Option<&str> {
        match &self.wanted {
            Some(ModelRef::Remote(remote)) => remote.about.as_deref(),
            _ => None,
        }
    }

    /// The address of the hub that repositories are on.
    pub fn site(&self) -> &str {
        &self.launch.site
    }

    fn complain(&mut self, text: String) -> Vec<Command> {
        self.banner = Some(Banner {
            text,
            remedies: vec![],
        });
        vec![]
    }

    fn answering(&mut self, id: JobId) -> Option<&mut Answer> {
        self.answer.as_mut().filter(|a| a.id == id)
    }

    fn next_job(&mut self) -> JobId {
        self.last_job += 1;
        self.last_job
    }

    fn push(&mut self, role: Role, text: String) -> u32 {
        self.last_key += 1;
        self.messages.push(Message {
            key: self.last_key,
            role,
            text,
            end: None,
        });
        self.last_key
    }

    fn set(&mut self, settings: Settings, now_ms: f64) -> Vec<Command> {
        let settings = settings.in_range();
        let reload = settings.needs_reload_after(&self.settings);
        self.settings = settings;
        let mut commands = vec![Command::SaveSettings];
        if reload && self.model != Model::Absent {
            commands.extend(self.load_again(now_ms));
        }
        commands
    }
}
