//! The conversation, and the scrolling that follows it without fighting the reader.

use super::icons::{DOWN, Icon};
use super::message::MessageView;
use super::model::ModelCard;
use super::start::Start;
use super::{Ui, ui};
use crate::state::Model;
use leptos::html::{Div, Main};
use leptos::prelude::*;
use wasm_bindgen::prelude::*;
use web_sys::ResizeObserver;

#[component]
pub(super) fn Transcript() -> impl IntoView {
    let ui = ui();
    let scroller = NodeRef::<Main>::new();
    let content = NodeRef::<Div>::new();
    let keys = ui.memo(|chat| chat.messages.iter().map(|m| m.key).collect::<Vec<_>>());
    let empty = Memo::new(move |_| keys.with(Vec::is_empty));
    let answering = ui.memo(|chat| chat.answer.is_some());
    let no_model = ui.memo(|chat| !matches!(chat.model, Model::Ready(_)));
    follow_the_end(ui, scroller, content);
    let on_scroll = move |_| {
        if let Some(main) = scroller.get_untracked() {
            let below = main.scroll_height() - main.scroll_top() - main.client_height();
            ui.follow.set(below < 40);
        }
    };
    view! {
        <main class="scroll" node_ref=scroller on:scroll=on_scroll tabindex="-1">
            <div class="column" node_ref=content>
                <Show when=move || empty.get()>
                    <Start />
                </Show>
                <div class="transcript" role="log" aria-label="Conversation" aria-live="polite"
                    aria-busy=move || answering.get().to_string() data-testid="transcript">
                    <For each=move || keys.get() key=|key| *key let:key>
                        <MessageView key />
                    </For>
                </div>
                <Show when=move || !empty.get() && no_model.get()>
                    <ModelCard />
                </Show>
            </div>
            <Show when=move || !ui.follow.get()>
                <button class="to-end" aria-label="Go to the end" title="Go to the end" on:click=move |_| {
                    ui.follow.set(true);
                    to_end(scroller);
                }>
                    <Icon path=DOWN />
                </button>
            </Show>
        </main>
    }
}

/// Scrolls along with text that comes, as long as the reader is at the end.
fn follow_the_end(ui: Ui, scroller: NodeRef<Main>, content: NodeRef<Div>) {
    let grown = move |_: JsValue| {
        if ui.follow.get_untracked() && ui.chat.with_untracked(|chat| !chat.messages.is_empty()) {
            to_end(scroller);
        }
    };
    let grown = Closure::<dyn Fn(JsValue)>::new(grown).into_js_value();
    Effect::new(move || {
        let (Some(content), Some(main)) = (content.get(), scroller.get()) else {
            return;
        };
        if let Ok(observer) = ResizeObserver::new(grown.unchecked_ref()) {
            observer.observe(&content);
            observer.observe(&main);
        }
    });
}

fn to_end(scroller: NodeRef<Main>) {
    if let Some(main) = scroller.get_untracked() {
        main.set_scroll_top(main.scroll_height());
    }
}
