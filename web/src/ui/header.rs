//! Wordmark, model, and what concerns the whole page.

use super::icons::{Icon, MOON, PLUS, SLIDERS, SUN};
use super::{browser, ui};
use crate::state::{Action, Model};
use leptos::prelude::*;

/// The page's name, and that of the model that comes with it.
const WORDMARK: &str = "Thimble";

#[component]
pub(super) fn Header() -> impl IntoView {
    let ui = ui();
    let model = ui.memo(|chat| {
        let name = match &chat.model {
            Model::Absent => None,
            Model::Loading(loading) => Some(&loading.name),
            Model::Ready(info) => Some(&info.name),
        };
        name.filter(|name| *name != WORDMARK).cloned()
    });
    let empty = ui.memo(|chat| chat.messages.is_empty());
    let new_chat = move |_| {
        ui.act(Action::NewChat);
        browser::focus("question");
    };
    view! {
        <header class="top">
            <h1 class="wordmark">
                <svg class="logo" viewBox="0 0 24 24" aria-hidden="true">
                    <path d="M6.5 19 8 8.5a4 4 0 0 1 8 0L17.5 19Z" />
                    <path d="M5 19h14" />
                    <path class="dots" d="M10.6 9.2h.01M13.4 9.2h.01M9.9 12.2h.01M12 12.2h.01M14.1 12.2h.01M9.4 15.2h.01M12 15.2h.01M14.6 15.2h.01" />
                </svg>
                {WORDMARK}
            </h1>
            <p class="model-name" data-testid="model-name">{move || model.get()}</p>
            <button class="quiet" on:click=new_chat disabled=empty aria-label="New chat" title="New chat">
                <Icon path=PLUS />
                <span class="wide">"New chat"</span>
            </button>
            <button class="quiet" on:click=move |_| ui.sheet_open.set(true) aria-label="Settings" title="Settings">
                <Icon path=SLIDERS />
            </button>
            <ThemeButton />
        </header>
    }
}

#[component]
fn ThemeButton() -> impl IntoView {
    let dark = RwSignal::new(browser::is_dark());
    browser::on_system_theme(move || dark.set(browser::is_dark()));
    let toggle = move |_| {
        // Asked anew: the settings may have changed it.
        let to_dark = !browser::is_dark();
        browser::set_theme(if to_dark { "dark" } else { "light" });
        dark.set(to_dark);
    };
    let label = move || {
        if dark.get() {
            "Light colours"
        } else {
            "Dark colours"
        }
    };
    view! {
        <button class="quiet" on:click=toggle aria-label=label title=label>
            {move || view! { <Icon path=if dark.get() { SUN } else { MOON } /> }}
        </button>
    }
}
