//! How fast the model is here: a button, how far measuring has come, and what it found.

use super::copy::CopyButton;
use super::ui;
use crate::protocol::Table;
use crate::state::{Action, Measuring};
use leptos::prelude::*;

#[component]
pub(super) fn BenchCard() -> impl IntoView {
    let ui = ui();
    let running = ui.memo(|chat| chat.bench.running.is_some());
    let cannot = ui.memo(|chat| chat.why_not_ask().is_some());
    view! {
        <section class="card" aria-label="Speed" data-testid="bench">
            <Show when=move || running.get() fallback=move || view! {
                <div class="offer">
                    <div>
                        <h3>"How fast is it here?"</h3>
                        <p class="muted">"Runs prompts, answers and single operations for a minute or two. Leave this tab in front meanwhile. The figures stay on this device."</p>
                    </div>
                    <button class="primary" disabled=cannot on:click=move |_| ui.act(Action::Measure)>"Run"</button>
                </div>
                <Found />
            }>
                <Progress />
            </Show>
        </section>
    }
}

#[component]
fn Progress() -> impl IntoView {
    let ui = ui();
    let running = ui.memo(|chat| chat.bench.running.clone());
    let part = move |part: fn(&Measuring) -> String| move || running.with(|r| r.as_ref().map(part));
    let stopping = move || running.with(|r| r.as_ref().is_some_and(|r| r.stopping));
    let percent = move || running.with(|r| r.as_ref().map_or(0, |r| r.done * 100 / r.total.max(1)));
    view! {
        <div class="offer">
            <div>
                <h3>"Measuring"</h3>
                <p class="muted" data-testid="bench-step">{part(|r| r.step.clone())}</p>
            </div>
            <button class="secondary" disabled=stopping on:click=move |_| ui.act(Action::StopMeasuring)>"Stop"</button>
        </div>
        <div class="bar" role="progressbar" aria-label="Measuring" aria-valuemin="0" aria-valuemax="100"
            aria-valuenow=move || percent().to_string()>
            <div style:width=move || format!("{}%", percent()) />
        </div>
        <p class="muted figures">{part(|r| format!("{} of {}", r.done, r.total))}</p>
    }
}

#[component]
fn Found() -> impl IntoView {
    let ui = ui();
    let report = ui.memo(|chat| chat.bench.report.clone());
    move || {
        report.get().map(|report| {
            let left_out = report.left_out.into_iter().map(|line| view! { <li>{line}</li> });
            view! {
                <div data-testid="bench-report" data-report=report.json>
                    {report.tables.into_iter().map(|table| view! { <Figures table /> }).collect_view()}
                    <ul class="muted left-out" aria-label="Left out">{left_out.collect_view()}</ul>
                    <CopyButton text=Signal::stored(report.text) />
                </div>
            }
        })
    }
}

/// The first column names what the others are figures of.
#[component]
fn Figures(table: Table) -> impl IntoView {
    let title = |cell: String| view! { <th scope="col">{cell}</th> };
    let row = |row: Vec<String>| {
        let mut cells = row.into_iter();
        let name = cells.next();
        view! {
            <tr>
                <th scope="row">{name}</th>
                {cells.map(|cell| view! { <td>{cell}</td> }).collect_view()}
            </tr>
        }
    };
    view! {
        <div class="measured" tabindex="0">
            <table>
                <thead><tr>{table.columns.into_iter().map(title).collect_view()}</tr></thead>
                <tbody>{table.rows.into_iter().map(row).collect_view()}</tbody>
            </table>
        </div>
    }
}
