//! The card that gets a model: what is offered, the visitor's own, or how far the load is.

use super::{browser, ui};
use crate::format;
use crate::protocol::{ModelRef, Offer, Phase};
use crate::state::{Action, Loading, Model, Offers};
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::HtmlInputElement;

#[component]
pub(super) fn ModelCard() -> impl IntoView {
    let ui = ui();
    let is_loading = ui.memo(|chat| matches!(chat.model, Model::Loading(_)));
    view! {
        <section class="card" aria-label="Model" data-testid="model-card">
            <Show when=move || is_loading.get() fallback=|| view! { <Choice /> }>
                <Progress />
            </Show>
        </section>
    }
}

/// The catalog's models, the visitor's own files, and the hub.
#[component]
fn Choice() -> impl IntoView {
    let ui = ui();
    let offers = ui.memo(|chat| chat.offers.clone());
    view! {
        {move || match offers.get() {
            Offers::Asking => view! { <p class="muted">"Looking for models…"</p> }.into_any(),
            Offers::Unknown(why) => view! { <p class="muted" data-testid="no-catalog">{why}</p> }.into_any(),
            Offers::Known(offers) => offers.into_iter().map(|offer| view! { <OfferRow offer /> }).collect_view().into_any(),
        }}
        <FilePicker />
        <HubForm />
    }
}

#[component]
fn OfferRow(offer: Offer) -> impl IntoView {
    let ui = ui();
    let Offer { model, stored } = offer;
    let size = model.size().map(format::bytes);
    let place = match stored {
        true => "stored on this device",
        false if model.bundled => "comes with this page",
        false => "downloaded once, then kept on this device",
    };
    let facts = [size.clone(), model.licence.clone(), Some(place.to_owned())];
    let facts = facts.into_iter().flatten().collect::<Vec<_>>().join(" · ");
    let (name, about) = (model.name.clone(), model.about.clone());
    let label = match size {
        Some(size) if !stored => format!("Load {size}"),
        _ => "Load".to_owned(),
    };
    view! {
        <div class="offer">
            <div>
                <h3>{name}</h3>
                <p class="muted">{facts}</p>
                {about.map(|about| view! { <p class="muted">{about}</p> })}
            </div>
            <button class="primary" data-testid="load" on:click=move |_| ui.act(Action::Load(ModelRef::Remote(model.clone())))>
                {label}
            </button>
        </div>
    }
}

#[component]
fn FilePicker() -> impl IntoView {
    let ui = ui();
    let chosen = move |event: leptos::ev::Event| {
        let input = event
            .target()
            .and_then(|t| t.dyn_into::<HtmlInputElement>().ok());
        let Some(input) = input else { return };
        ui.open(
            input
                .files()
                .map(|list| browser::files(&list))
                .unwrap_or_default(),
        );
        // So that the same file can be chosen again.
        input.set_value("");
    };
    view! {
        <p class="own muted">
            <label class="link">
                "Open your own model"
                <input class="unseen" type="file" multiple data-testid="files" on:change=chosen
                    accept=".gguf,.safetensors,.bin,.pt,.pth,.json,.jinja,.txt,.model" />
            </label>
            ": a .gguf file, or all files of a model's folder. You can also drop them here."
        </p>
    }
}

/// A repository of the hub, by its name or its page's address.
#[component]
fn HubForm() -> impl IntoView {
    let ui = ui();
    let host = ui
        .chat
        .with_untracked(|chat| hub::host(chat.site()).to_owned());
    let typed = ui.repository;
    let on_submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        ui.act(Action::LoadRepository(typed.get_untracked()));
    };
    let note =
        format!("Files come from {host}, which sees what you fetch. What you write stays here.");
    view! {
        <form class="hub" on:submit=on_submit>
            <label for="repository">"From Hugging Face:"</label>
            <input id="repository" type="text" inputmode="url" placeholder="owner/name" required
                autocomplete="off" autocapitalize="none" spellcheck="false" enterkeyhint="go" aria-describedby="hub-note"
                prop:value=move || typed.get() on:input=move |event| typed.set(event_target_value(&event)) />
            <button class="secondary small" type="submit">"Open"</button>
        </form>
        <p id="hub-note" class="muted">{note}</p>
    }
}

#[component]
fn Progress() -> impl IntoView {
    let ui = ui();
    let loading = ui.memo(|chat| match &chat.model {
        Model::Loading(loading) => Some(loading.clone()),
        _ => None,
    });
    let name = move || loading.with(|l| l.as_ref().map(|l| l.name.clone()));
    let what = move || loading.with(|l| l.as_ref().map(what));
    let amount = move || loading.with(|l| l.as_ref().map(amount));
    let note = move || loading.with(|l| l.as_ref().and_then(|l| l.note.clone()));
    // Whole percents, so that a screen reader is not read each byte.
    let percent = Memo::new(move |_| {
        let fraction = loading.with(|l| l.as_ref().and_then(Loading::fraction));
        let preparing = loading.with(|l| l.as_ref().is_some_and(|l| !l.phase.counts_bytes()));
        fraction.filter(|_| !preparing).map(|f| (f * 100.0) as u32)
    });
    view! {
        <div class="offer" data-testid="progress">
            <div>
                <h3>{name}</h3>
                <p class="muted">{what}</p>
            </div>
            <button class="secondary" on:click=move |_| ui.act(Action::CancelLoad)>"Cancel"</button>
        </div>
        <div class="bar" class:unknown=move || percent.get().is_none() role="progressbar" aria-label="Loading the model"
            aria-valuemin="0" aria-valuemax="100" aria-valuenow=move || percent.get().map(|p| p.to_string())>
            <div style:width=move || percent.get().map(|p| format!("{p}%")) />
        </div>
        <p class="muted figures" data-testid="progress-figures">{amount}</p>
        <p class="muted">{note}</p>
    }
}

fn what(loading: &Loading) -> &'static str {
    match loading.phase {
        Phase::Downloading => "Downloading",
        Phase::Checking => "Checking the download",
        Phase::Calibrating => "Finding out how its files are to be read; once only",
        Phase::Loading => "Reading the weights",
        Phase::Preparing => "Getting ready",
        Phase::Racing => "Trying your CPU and your GPU; once only",
    }
}

/// "34.2 of 98.4 MB · 34 % · 12.3 MB/s"
fn amount(loading: &Loading) -> String {
    if !loading.phase.counts_bytes() {
        return "A few moments".to_owned();
    }
    let done = format::bytes(loading.done_bytes);
    let mut parts = vec![match loading.total_bytes.map(format::bytes) {
        Some(total) => match (done.split_once(' '), total.split_once(' ')) {
            (Some((done, unit)), Some((_, same))) if unit == same => format!("{done} of {total}"),
            _ => format!("{done} of {total}"),
        },
        None => done,
    }];
    parts.extend(
        loading
            .fraction()
            .map(|f| format!("{:.0} %", (f * 100.0).floor())),
    );
    parts.extend(
        loading
            .bytes_per_second()
            .map(|s| format!("{}/s", format::bytes(s as u64))),
    );
    parts.join(" · ")
}
