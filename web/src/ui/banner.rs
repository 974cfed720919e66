//! What went wrong, and what can be done.

use super::icons::{CLOSE, Icon};
use super::ui;
use crate::state::{Action, Remedy};
use leptos::prelude::*;

#[component]
pub(super) fn Banner() -> impl IntoView {
    let ui = ui();
    let banner = ui.memo(|chat| chat.banner.clone());
    let button = move |remedy: Remedy| {
        let label = match remedy {
            Remedy::LoadAgain | Remedy::AnswerAgain => "Try again",
            Remedy::UseCpu => "Use the CPU",
            Remedy::ReloadPage => "Load the page again",
        };
        view! { <button class="secondary" on:click=move |_| ui.act(Action::Remedy(remedy))>{label}</button> }
    };
    view! {
        <div role="alert">
            {move || banner.get().map(|banner| view! {
                <div class="banner" data-testid="banner">
                    <p>{banner.text}</p>
                    <div class="row">
                        {banner.remedies.into_iter().map(button).collect_view()}
                        <button class="quiet" aria-label="Dismiss" title="Dismiss" on:click=move |_| ui.act(Action::Dismiss)>
                            <Icon path=CLOSE />
                        </button>
                    </div>
                </div>
            })}
        </div>
    }
}
