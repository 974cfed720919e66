//! The page before the first question.

use super::bench::BenchCard;
use super::model::ModelCard;
use super::{browser, ui};
use crate::format;
use crate::protocol::Info;
use crate::state::{Action, Chat, Model};
use leptos::prelude::*;

/// Short and simple: the smallest models have something to say to these.
const EXAMPLES: [&str; 4] = [
    "Hello! Who are you?",
    "Tell me a short story about a cat.",
    "How do I plant a seed?",
    "Why is the sky blue?",
];

#[component]
pub(super) fn Start() -> impl IntoView {
    let ui = ui();
    let info = ui.memo(|chat| match &chat.model {
        Model::Ready(info) => Some(info.clone()),
        _ => None,
    });
    let offers_bench = ui.chat.with_untracked(Chat::offers_bench);
    view! {
        <section class="start">
            <h2>"A small language model, in this tab"</h2>
            <p class="lead">
                "It runs on your own device. Nothing you write leaves it, and once it is here you need no network."
            </p>
            {move || info.get().is_none().then(|| view! { <ModelCard /> })}
            <Show when=move || offers_bench fallback=|| view! {
                <ul class="examples" aria-label="Examples">
                    {EXAMPLES.map(|text| view! { <li><Example text /></li> })}
                </ul>
            }>
                <BenchCard />
            </Show>
            // What can be asked comes first, once there is something to ask.
            {move || info.get().map(|info| view! { <ReadyCard info /> })}
        </section>
    }
}

#[component]
fn ReadyCard(info: Info) -> impl IntoView {
    let ui = ui();
    let facts = [
        format!("{} parameters", format::parameters(info.n_parameters)),
        format::bytes(info.weight_bytes),
        format!("context of {} tokens", format::integer(info.context.into())),
    ];
    let about = ui
        .chat
        .with_untracked(|chat| chat.about().map(str::to_owned));
    let caution = match about {
        _ if !info.has_template => {
            "This model has no chat template: it goes on with your text instead of answering it."
                .to_owned()
        }
        Some(about) => about,
        None => "A model this small often makes things up: check what matters.".to_owned(),
    };
    view! {
        <section class="card" aria-label="Model" data-testid="ready">
            <h3>{info.name}</h3>
            <p class="muted">{facts.join(" · ")}</p>
            <p class="muted">{format!("Ready. {caution}")}</p>
            {info.backend_reason.map(|why| view! { <p class="muted" data-testid="why">{format!("Runs on {}: {why}.", info.backend)}</p> })}
            {info.found.map(|found| view! {
                <p class="muted" data-testid="found">{format!("Its files leave something open; this fits best: {found}.")}</p>
            })}
            <button class="link" on:click=move |_| ui.act(Action::Unload)>"Choose another model"</button>
        </section>
    }
}

/// Asks at once if it can, and otherwise waits in the composer.
#[component]
fn Example(text: &'static str) -> impl IntoView {
    let ui = ui();
    let ask = move |_| {
        if ui.chat.with_untracked(|chat| chat.why_not_ask().is_none()) {
            ui.act(Action::Submit(text.to_owned()));
        } else {
            ui.draft.set(text.to_owned());
        }
        browser::focus("question");
    };
    view! { <button class="example" on:click=ask>{text}</button> }
}
