//! One message of the transcript.

use super::copy::CopyButton;
use super::icons::{AGAIN, EDIT, Icon};
use super::{browser, ui};
use crate::format;
use crate::markdown::{self, Block, Span};
use crate::protocol::Role;
use crate::state::{Action, Chat};
use leptos::prelude::*;

#[component]
pub(super) fn MessageView(key: u32) -> impl IntoView {
    let ui = ui();
    let (role, text) = ui.chat.with_untracked(|chat| {
        let message = chat.messages.iter().find(|m| m.key == key);
        message.map_or((Role::User, String::new()), |m| (m.role, m.text.clone()))
    });
    let text = RwSignal::new(text);
    ui.texts.update_value(|texts| {
        texts.insert(key, text);
    });
    on_cleanup(move || {
        ui.texts.try_update_value(|texts| texts.remove(&key));
    });
    match role {
        Role::User | Role::System => view! { <Question key text /> }.into_any(),
        Role::Assistant => view! { <Answer key text /> }.into_any(),
    }
}

#[component]
fn Question(key: u32, text: RwSignal<String>) -> impl IntoView {
    let ui = ui();
    let idle = ui.memo(|chat| chat.answer.is_none());
    let unanswered = ui.memo(move |chat| {
        chat.messages.last().is_some_and(|m| m.key == key)
            && chat.banner.is_none()
            && chat.why_not_ask().is_none()
    });
    let edit = move |_| {
        ui.act(Action::Edit(key));
        browser::focus("question");
    };
    view! {
        <article class="message question" aria-label="You" data-testid="question">
            <p class="bubble">{text}</p>
            <div class="tools">
                <Show when=move || unanswered.get()>
                    <button class="secondary small" on:click=move |_| ui.act(Action::AnswerAgain)>"Answer this"</button>
                </Show>
                <Show when=move || idle.get()>
                    <button class="quiet small" on:click=edit aria-label="Edit this message" title="Edit; what follows is removed">
                        <Icon path=EDIT />
                    </button>
                </Show>
            </div>
        </article>
    }
}

#[component]
fn Answer(key: u32, text: RwSignal<String>) -> impl IntoView {
    let ui = ui();
    let writing = ui.memo(move |chat| chat.answer.as_ref().is_some_and(|a| a.key == key));
    let blocks = Memo::new(move |_| text.with(|text| markdown::parse(text, writing.get())));
    let remark = ui.memo(move |chat| {
        let end = chat
            .messages
            .iter()
            .find(|m| m.key == key)
            .and_then(|m| m.end);
        end.and_then(Chat::remark)
    });
    let empty_note = move || {
        (!writing.get() && text.with(String::is_empty))
            .then_some("The model ended its answer without a word.")
    };
    view! {
        <article class="message answer" class:writing=writing aria-label="Answer" data-testid="answer">
            <div class="blocks" data-testid="answer-text">
                <For each=move || blocks.get().into_iter().enumerate() key=Clone::clone let((_, block))>
                    {draw(block)}
                </For>
            </div>
            <Show when=move || writing.get() && text.with(String::is_empty)>
                <Waiting />
            </Show>
            <p class="remark">{move || remark.get().or_else(empty_note)}</p>
            <Show when=move || !writing.get()>
                <Tools key text />
            </Show>
        </article>
    }
}

/// Before the first word.
#[component]
fn Waiting() -> impl IntoView {
    let ui = ui();
    let prefill = ui.memo(|chat| chat.answer.as_ref().and_then(|a| a.prefill));
    let label = move || match prefill.get() {
        Some((done, total)) if total > 64 => {
            format!(
                "Reading: {} of {} tokens",
                format::integer(done.into()),
                format::integer(total.into())
            )
        }
        _ => "Thinking".to_owned(),
    };
    view! {
        <p class="waiting"><span class="dots" aria-hidden="true"><i /><i /><i /></span>{label}</p>
    }
}

#[component]
fn Tools(key: u32, text: RwSignal<String>) -> impl IntoView {
    let ui = ui();
    let last = ui.memo(move |chat| {
        chat.messages.last().is_some_and(|m| m.key == key) && chat.why_not_ask().is_none()
    });
    view! {
        <div class="tools">
            <CopyButton text=text.into() />
            <Show when=move || last.get()>
                <button class="quiet small" on:click=move |_| ui.act(Action::AnswerAgain)
                    aria-label="Answer again" title="Answer again">
                    <Icon path=AGAIN />
                </button>
            </Show>
        </div>
    }
}

fn draw(block: Block) -> AnyView {
    match block {
        Block::Paragraph(spans) => view! { <p>{draw_spans(spans)}</p> }.into_any(),
        Block::Heading(spans) => view! { <h3>{draw_spans(spans)}</h3> }.into_any(),
        Block::Code { language, text } => view! {
            <figure class="code">
                {(!language.is_empty()).then(|| view! { <figcaption>{language}</figcaption> })}
                <pre tabindex="0"><code>{text}</code></pre>
            </figure>
        }
        .into_any(),
        Block::List { start, items } => {
            let items = items.into_iter().map(|(depth, spans)| view! {
                <li class=("inner", depth > 0) style:--depth=depth.to_string()>{draw_spans(spans)}</li>
            });
            let items = items.collect_view();
            match start {
                Some(start) => view! { <ol start=start>{items}</ol> }.into_any(),
                None => view! { <ul>{items}</ul> }.into_any(),
            }
        }
    }
}

fn draw_spans(spans: Vec<Span>) -> Vec<AnyView> {
    let one = |span| match span {
        Span::Text(text) => text.into_any(),
        Span::Strong(text) => view! { <strong>{text}</strong> }.into_any(),
        Span::Emphasis(text) => view! { <em>{text}</em> }.into_any(),
        Span::Code(text) => view! { <code>{text}</code> }.into_any(),
    };
    spans.into_iter().map(one).collect()
}
