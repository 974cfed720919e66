//! The settings, in a sheet at the side.

use super::icons::{CLOSE, Icon};
use super::{Ui, browser, ui};
use crate::protocol::{self, BackendChoice, Precision, Preferences};
use crate::settings::Settings;
use crate::state::{Action, Offers};
use leptos::html::Dialog;
use leptos::prelude::*;
use wasm_bindgen::JsValue;
use web_sys::HtmlInputElement;

#[component]
pub(super) fn Sheet() -> impl IntoView {
    let ui = ui();
    let dialog = NodeRef::<Dialog>::new();
    Effect::new(move || {
        let Some(dialog) = dialog.get() else { return };
        match ui.sheet_open.get() {
            true if !dialog.open() => {
                let _ = dialog.show_modal();
            }
            false if dialog.open() => dialog.close(),
            _ => {}
        }
    });
    let on_backdrop = move |event: leptos::ev::MouseEvent| {
        // The sheet's content covers the dialog: only the backdrop is the dialog itself.
        if event.target().map(JsValue::from) == dialog.get_untracked().map(JsValue::from) {
            ui.sheet_open.set(false);
        }
    };
    view! {
        <dialog class="sheet" node_ref=dialog aria-labelledby="sheet-title" data-testid="settings"
            on:close=move |_| ui.sheet_open.set(false) on:click=on_backdrop>
            <div class="sheet-content">
                <header>
                    <h2 id="sheet-title">"Settings"</h2>
                    <button class="quiet" aria-label="Close" title="Close" on:click=move |_| ui.sheet_open.set(false)>
                        <Icon path=CLOSE />
                    </button>
                </header>
                <Answers />
                <Sampling />
                <ModelSettings />
                <Rest />
            </div>
        </dialog>
    }
}

impl Ui {
    fn change(self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.chat.with_untracked(|chat| chat.settings.clone());
        change(&mut settings);
        self.act(Action::Settings(settings));
    }
}

#[component]
fn Answers() -> impl IntoView {
    let ui = ui();
    let system = ui.memo(|chat| chat.settings.system_prompt.clone());
    view! {
        <fieldset>
            <legend>"Answers"</legend>
            <label class="field">
                <span class="label">"System prompt"<small class="hint">"Empty: none. Very small models do not follow one"</small></span>
                <textarea rows="3" placeholder="How the model should behave" prop:value=system
                    on:change=move |e| ui.change(|s| s.system_prompt = event_target_value(&e)) />
            </label>
            <Number label="Longest answer" unit="tokens" min=1 max=Settings::MAX_TOKENS
                get=|s| s.max_tokens set=|s, v| s.max_tokens = v />
        </fieldset>
    }
}

#[component]
fn Sampling() -> impl IntoView {
    let ui = ui();
    let recommended = ui.memo(|chat| chat.recommended() != Preferences::default());
    view! {
        <fieldset>
            <legend>"Choice of words"</legend>
            <Show when=move || recommended.get()>
                <p class="muted">"What you do not change here is as the model's author recommends."</p>
            </Show>
            <Slider label="Temperature" hint="0 always takes the likeliest word" min=0.0 max=2.0 step=0.05
                get=|s| s.temperature set=|s, v| s.temperature = Some(v) />
            <Slider label="Top-k" hint="Only the k likeliest words; 0 for all" min=0.0 max=200.0 step=1.0
                get=|s| s.top_k as f32 set=|s, v| s.top_k = Some(v as u32) />
            <Slider label="Top-p" hint="The likeliest words up to this sum" min=0.05 max=1.0 step=0.01
                get=|s| s.top_p set=|s, v| s.top_p = Some(v) />
            <Slider label="Min-p" hint="At least this share of the likeliest word" min=0.0 max=0.5 step=0.01
                get=|s| s.min_p set=|s, v| s.min_p = Some(v) />
            <Slider label="Repetition penalty" hint="1 for none" min=1.0 max=2.0 step=0.01
                get=|s| s.repetition_penalty set=|s, v| s.repetition_penalty = Some(v) />
            <Seed />
        </fieldset>
    }
}

#[component]
fn Seed() -> impl IntoView {
    let ui = ui();
    let seed = ui.memo(|chat| chat.settings.sampling.seed);
    // Anything that is no number means a new seed for each answer.
    let set = move |e: leptos::ev::Event| {
        ui.change(|s| s.sampling.seed = event_target_value(&e).trim().parse().ok())
    };
    view! {
        <label class="field inline">
            <span class="label">"Seed"<small>"Empty: a new one for each answer"</small></span>
            <input type="text" inputmode="numeric" placeholder="random" on:change=set
                prop:value=move || seed.get().map(|s| s.to_string()).unwrap_or_default() />
        </label>
    }
}

#[component]
fn ModelSettings() -> impl IntoView {
    let backends = vec![
        (BackendChoice::Auto, "Automatic"),
        (BackendChoice::Gpu, "WebGPU"),
        (BackendChoice::Cpu, "CPU"),
    ];
    let precisions = vec![
        (Precision::Auto, "Automatic"),
        (Precision::Q4, "4 bits"),
        (Precision::Q8, "8 bits"),
        (Precision::Exact, "As is"),
    ];
    view! {
        <fieldset>
            <legend>"Model"</legend>
            <Segments id="backend" label="Runs on" options=backends
                get=|s| s.backend set=|s, v| s.backend = v />
            <Number label="Context length" unit="tokens" min=Settings::MIN_CONTEXT max=Settings::MAX_TOKENS
                get=|s| s.context set=|s, v| s.context = v />
            <Segments id="precision" label="Weights that come unpacked" options=precisions
                get=|s| s.precision set=|s, v| s.precision = v />
            <p class="muted">"Fewer bits need less memory and are faster; 4 cost a little accuracy. A change here loads the model again; the conversation stays."</p>
        </fieldset>
    }
}

#[component]
fn Rest() -> impl IntoView {
    let ui = ui();
    let stored = ui.memo(
        |chat| matches!(&chat.offers, Offers::Known(offers) if offers.iter().any(|o| o.stored)),
    );
    let theme = browser::stored(browser::THEME).unwrap_or_default();
    let option = |value: &'static str, label: &'static str| {
        let selected = theme == value;
        view! { <option value=value selected=selected>{label}</option> }
    };
    view! {
        <fieldset>
            <legend>"This page"</legend>
            <label class="field inline">
                <span class="label">"Colours"</span>
                <select on:change=move |e| browser::set_theme(&event_target_value(&e))>
                    {option("", "As the system")} {option("light", "Light")} {option("dark", "Dark")}
                </select>
            </label>
            <div class="row">
                <button class="secondary" on:click=move |_| ui.act(Action::Settings(Settings::default()))>
                    "Reset settings"
                </button>
                <Show when=move || stored.get()>
                    <button class="secondary" on:click=move |_| ui.act(Action::Forget)>"Delete stored models"</button>
                </Show>
            </div>
        </fieldset>
    }
}

/// One value of a few.
#[component]
fn Segments<T: Copy + PartialEq + Send + Sync + 'static>(
    /// Tells the groups of the page apart.
    id: &'static str,
    label: &'static str,
    options: Vec<(T, &'static str)>,
    get: fn(&Settings) -> T,
    set: fn(&mut Settings, T),
) -> impl IntoView {
    let ui = ui();
    let chosen = ui.memo(move |chat| get(&chat.settings));
    let option = move |(value, label): (T, &'static str)| {
        view! {
            <label>
                <input type="radio" name=id class="unseen" prop:checked=move || chosen.get() == value
                    on:change=move |_| ui.change(|s| set(s, value)) />
                <span>{label}</span>
            </label>
        }
    };
    let label_id = format!("{id}-label");
    view! {
        <div class="field">
            <span class="label" id=label_id.clone()>{label}</span>
            <div class="segments" role="radiogroup" aria-labelledby=label_id>
                {options.into_iter().map(option).collect_view()}
            </div>
        </div>
    }
}

/// A setting between two values.
#[component]
fn Slider(
    label: &'static str,
    hint: &'static str,
    min: f32,
    max: f32,
    step: f32,
    get: fn(&protocol::Sampling) -> f32,
    set: fn(&mut Preferences, f32),
) -> impl IntoView {
    let ui = ui();
    let value = ui.memo(move |chat| get(&chat.sampling()));
    let digits = if step < 1.0 { 2 } else { 0 };
    let on_input = move |e: leptos::ev::Event| {
        if let Ok(value) = event_target_value(&e).parse() {
            ui.change(|s| set(&mut s.sampling, value));
        }
    };
    view! {
        <label class="field">
            <span class="label">
                {label}
                <span class="value" aria-hidden="true">{move || format!("{:.digits$}", value.get())}</span>
                <small class="hint">{hint}</small>
            </span>
            <input type="range" aria-label=label min=min max=max step=step prop:value=move || value.get().to_string() on:input=on_input />
        </label>
    }
}

/// A whole number; what cannot be one goes back to what it was.
#[component]
fn Number(
    label: &'static str,
    unit: &'static str,
    min: u32,
    max: u32,
    get: fn(&Settings) -> u32,
    set: fn(&mut Settings, u32),
) -> impl IntoView {
    let ui = ui();
    let value = ui.memo(move |chat| get(&chat.settings));
    let on_change = move |e: leptos::ev::Event| {
        let input: HtmlInputElement = event_target(&e);
        if let Ok(value) = input.value().trim().parse::<u32>() {
            ui.change(|s| set(s, value.clamp(min, max)));
        }
        input.set_value(&value.get_untracked().to_string());
    };
    view! {
        <label class="field inline">
            <span class="label">{label}<small>{unit}</small></span>
            <input type="number" inputmode="numeric" min=min max=max prop:value=move || value.get().to_string() on:change=on_change />
        </label>
    }
}
