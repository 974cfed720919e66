//! The page's views. They read [`Chat`] and act on it; what it asks for in return is done here.

mod banner;
mod bench;
mod browser;
mod composer;
mod copy;
mod header;
mod icons;
mod message;
mod model;
mod sheet;
mod start;
mod transcript;

use crate::client::Client;
use crate::protocol::{Event, ModelRef};
use crate::settings::Settings;
use crate::state::{Action, Chat, Command};
use leptos::prelude::*;
use std::collections::HashMap;
use web_sys::File;

/// Draws the page into the document.
pub fn start() {
    std::panic::set_hook(Box::new(|info| {
        console_error_panic_hook::hook(info);
        browser::show_crash();
    }));
    browser::remove("boot");
    leptos::mount::mount_to_body(App);
}

/// What every view has at hand. A handle: copies share one page.
#[derive(Clone, Copy)]
struct Ui {
    chat: RwSignal<Chat>,
    draft: RwSignal<String>,
    /// The repository's name, as far as it is typed.
    repository: RwSignal<String>,
    sheet_open: RwSignal<bool>,
    /// Whether the transcript follows its end.
    follow: RwSignal<bool>,
    /// The text of each message on show, apart from `chat`: a token redraws one message and no list.
    texts: StoredValue<HashMap<u32, RwSignal<String>>>,
    client: StoredValue<Client, LocalStorage>,
    /// Events since the last frame.
    events: StoredValue<Vec<Event>>,
}

impl Ui {
    fn new() -> Self {
        let settings = Settings::from_json(&browser::stored(browser::SETTINGS).unwrap_or_default());
        let ui = Self {
            chat: RwSignal::new(Chat::new(settings, browser::launch())),
            draft: RwSignal::new(browser::session(browser::DRAFT).unwrap_or_default()),
            repository: RwSignal::new(browser::session(browser::REPOSITORY).unwrap_or_default()),
            sheet_open: RwSignal::new(false),
            follow: RwSignal::new(true),
            texts: StoredValue::new(HashMap::new()),
            client: StoredValue::new_local(Client::new(|_| ())),
            events: StoredValue::new(Vec::new()),
        };
        ui.client
            .set_value(Client::new(move |event| ui.receive(event)));
        ui
    }

    /// A part of the state that views can follow.
    fn memo<T: PartialEq + Send + Sync + 'static>(
        self,
        part: impl Fn(&Chat) -> T + Send + Sync + 'static,
    ) -> Memo<T> {
        Memo::new(move |_| self.chat.with(&part))
    }

    /// The visitor did something.
    fn act(self, action: Action) {
        let commands = self
            .chat
            .try_update(|chat| chat.act(action, browser::now_ms()));
        self.run(commands.unwrap_or_default());
    }

    /// The visitor chose files.
    fn open(self, files: Vec<File>) {
        let Some(first) = files.first() else { return };
        let name = match files.len() {
            1 => first.name(),
            n => format!("{} and {} more", first.name(), n - 1),
        };
        let bytes = files.iter().map(|f| f.size() as u64).sum();
        self.client.with_value(|client| client.set_files(files));
        self.act(Action::Load(ModelRef::Local { name, bytes }));
    }

    /// Takes an event in with the next frame, so that the page is drawn once however many tokens came.
    fn receive(self, event: Event) {
        let first = self.events.try_update_value(|events| {
            events.push(event);
            events.len() == 1
        });
        if browser::hidden() {
            // No frames there; the title and the figures go on.
            self.flush();
        } else if first == Some(true) {
            request_animation_frame(move || self.flush());
        }
    }

    fn flush(self) {
        let events = self
            .events
            .try_update_value(std::mem::take)
            .unwrap_or_default();
        if events.is_empty() {
            return;
        }
        let now_ms = browser::now_ms();
        let commands = self.chat.try_update(|chat| {
            events
                .into_iter()
                .flat_map(|event| chat.apply(event, now_ms))
                .collect::<Vec<_>>()
        });
        self.refresh_last_text();
        self.run(commands.unwrap_or_default());
    }

    /// Only the last message grows.
    fn refresh_last_text(self) {
        let last = self
            .chat
            .with_untracked(|chat| chat.messages.last().map(|m| (m.key, m.text.clone())));
        let Some((key, text)) = last else { return };
        let signal = self.texts.with_value(|texts| texts.get(&key).copied());
        if let Some(signal) = signal.filter(|s| s.with_untracked(|old| *old != text)) {
            signal.set(text);
        }
    }

    fn run(self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Send(request) => {
                    let client = self.client.get_value();
                    client.send(request);
                }
                Command::DropWorker => self.client.with_value(Client::drop_worker),
                Command::Draft(text) => self.draft.update(|draft| {
                    let kept = std::mem::take(draft);
                    *draft = if kept.trim().is_empty() {
                        text
                    } else {
                        format!("{text}\n\n{kept}")
                    };
                }),
                Command::ClearDraft => {
                    self.draft.set(String::new());
                    self.follow.set(true);
                }
                Command::SaveSettings => {
                    let json = self.chat.with_untracked(|chat| chat.settings.to_json());
                    browser::store(browser::SETTINGS, &json);
                }
                Command::SaveModel(id) => browser::store(browser::MODEL, &id),
                Command::ReloadPage => browser::reload(),
            }
        }
    }
}

fn ui() -> Ui {
    expect_context()
}

#[component]
fn App() -> impl IntoView {
    let ui = Ui::new();
    provide_context(ui);
    Effect::new(move || browser::keep_in_session(browser::DRAFT, &ui.draft.get()));
    Effect::new(move || browser::keep_in_session(browser::REPOSITORY, &ui.repository.get()));
    let dragging = accept_dropped_files(ui);
    ui.act(Action::Start);
    view! {
        <header::Header />
        <transcript::Transcript />
        <footer class="dock">
            <div class="column">
                <banner::Banner />
                <composer::Composer />
            </div>
        </footer>
        <sheet::Sheet />
        <div class="drop" class:shown=dragging aria-hidden="true">"Drop a .gguf file, or all files of a model's folder"</div>
    }
}

/// Files can be dropped anywhere on the page. The signal says whether some hover over it.
fn accept_dropped_files(ui: Ui) -> RwSignal<bool> {
    let dragging = RwSignal::new(false);
    window_event_listener(leptos::ev::dragover, move |event| {
        if browser::carries_files(&event) {
            event.prevent_default();
            dragging.set(true);
        }
    });
    window_event_listener(leptos::ev::dragleave, move |event| {
        if event.related_target().is_none() {
            dragging.set(false);
        }
    });
    window_event_listener(leptos::ev::drop, move |event| {
        dragging.set(false);
        if browser::carries_files(&event) {
            event.prevent_default();
            ui.open(browser::dropped(&event));
        }
    });
    dragging
}
