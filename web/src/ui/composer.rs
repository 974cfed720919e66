//! Where a question is written, and the status line under it.

use super::icons::{Icon, SEND};
use super::{browser, ui};
use crate::format;
use crate::state::{Action, Model};
use leptos::ev::KeyboardEvent;
use leptos::prelude::*;

#[component]
pub(super) fn Composer() -> impl IntoView {
    let ui = ui();
    let draft = ui.draft;
    let why_not = ui.memo(|chat| chat.why_not_ask());
    let answering = ui.memo(|chat| chat.answer.is_some());
    let stopping = ui.memo(|chat| chat.answer.as_ref().is_some_and(|a| a.stopping));
    let submit = move || ui.act(Action::Submit(draft.get_untracked()));
    let on_key = move |event: KeyboardEvent| {
        // Enter that ends the input of an East Asian word is not meant for us.
        if event.key() == "Enter" && !event.shift_key() && !event.is_composing() {
            event.prevent_default();
            submit();
        }
    };
    let on_submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        submit();
        browser::focus("question");
    };
    let cannot_send = move || why_not.get().is_some() || draft.with(|d| d.trim().is_empty());
    view! {
        <form class="composer" on:submit=on_submit>
            // The label's twin of the text gives the box its height.
            <label class="grow" data-text=move || draft.get()>
                <span class="unseen">"Your message"</span>
                <textarea
                    id="question"
                    rows="1"
                    placeholder="Write a message"
                    autocomplete="off"
                    enterkeyhint="send"
                    aria-describedby="status"
                    prop:value=move || draft.get()
                    on:input=move |event| draft.set(event_target_value(&event))
                    on:keydown=on_key
                />
            </label>
            <Show
                when=move || answering.get()
                fallback=move || view! {
                    <button class="send" type="submit" disabled=cannot_send aria-label="Send" title="Send (Enter)">
                        <Icon path=SEND />
                    </button>
                }
            >
                <button class="send stop" type="button" disabled=stopping aria-label="Stop" title="Stop"
                    on:click=move |_| ui.act(Action::Stop)>
                    <span class="square" />
                </button>
            </Show>
        </form>
        <Status />
    }
}

/// Adapter or CPU, tokens per second, time to first token, context used; or what is missing.
#[component]
fn Status() -> impl IntoView {
    let ui = ui();
    let model = ui.memo(|chat| match &chat.model {
        Model::Ready(info) => Some((
            info.backend.clone(),
            info.backend_reason.clone(),
            info.context,
        )),
        _ => None,
    });
    let why_not = ui.memo(|chat| chat.why_not_ask());
    let figures = ui.memo(|chat| chat.figures);
    let rate = move || {
        figures
            .get()
            .tokens_per_second
            .map(|r| format!("{} tokens/s", format::rate(r)))
    };
    let first = move || {
        figures
            .get()
            .first_token_ms
            .map(|ms| format!("first token {}", format::duration(ms)))
    };
    let context = move |n: u32| {
        let used = figures.get().context_used.unwrap_or(0);
        format!(
            "context {} / {}",
            format::integer(used.into()),
            format::integer(n.into())
        )
    };
    view! {
        <p id="status" class="status" data-testid="status">
            {move || match model.get() {
                None => view! { <span>{why_not.get()}</span> }.into_any(),
                Some((backend, reason, n_context)) => view! {
                    <span class="backend" data-testid="backend" title=reason>{backend}</span>
                    <span data-testid="rate">{rate}</span>
                    <span data-testid="first">{first}</span>
                    <span data-testid="context">{move || context(n_context)}</span>
                }.into_any(),
            }}
        </p>
    }
}
