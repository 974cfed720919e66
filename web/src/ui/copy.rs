//! The button that copies a text.

use super::icons::{CHECK, COPY, Icon};
use super::{browser, ui};
use crate::state::Action;
use leptos::prelude::*;
use std::time::Duration;

#[component]
pub(super) fn CopyButton(text: Signal<String>) -> impl IntoView {
    let ui = ui();
    let copied = RwSignal::new(false);
    let copy = move |_| {
        leptos::task::spawn_local(async move {
            if browser::copy(text.get_untracked()).await {
                copied.set(true);
                set_timeout(move || copied.set(false), Duration::from_secs(2));
            } else {
                let text = "The browser does not let the page use the clipboard here; select the text and copy it yourself.";
                ui.act(Action::Complain(text.to_owned()));
            }
        });
    };
    let label = move || if copied.get() { "Copied" } else { "Copy" };
    view! {
        <button class="quiet small" on:click=copy aria-label=label title=label>
            {move || view! { <Icon path=if copied.get() { CHECK } else { COPY } /> }}
        </button>
    }
}
