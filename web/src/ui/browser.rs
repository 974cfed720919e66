//! The browser's own things, in the few forms that the page needs. What a browser may refuse (storage
//! in a private window, the clipboard on plain http) is left out quietly.

use crate::settings::Launch;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{DragEvent, Element, File, FileList, HtmlElement, Storage, UrlSearchParams, Window};

/// Key of the settings in localStorage.
pub const SETTINGS: &str = "thimble.settings";
/// Key of the last model's id in localStorage.
pub const MODEL: &str = "thimble.model";
/// Key of the theme in localStorage; index.html reads it too.
pub const THEME: &str = "thimble.theme";
/// Key of the unsent text in sessionStorage.
pub const DRAFT: &str = "thimble.draft";
/// Key of the repository's name, as far as it is typed, in sessionStorage.
pub const REPOSITORY: &str = "thimble.repository";

fn window() -> Window {
    web_sys::window().expect("the app runs in a page")
}

/// Milliseconds since the page was opened.
pub fn now_ms() -> f64 {
    window()
        .performance()
        .map_or_else(js_sys::Date::now, |p| p.now())
}

/// Whether the tab is in the background.
pub fn hidden() -> bool {
    window().document().is_some_and(|d| d.hidden())
}

pub fn reload() {
    let _ = window().location().reload();
}

/// What the page's address asks for, and what was there at the last visit.
pub fn launch() -> Launch {
    let query = window().location().search().unwrap_or_default();
    let launch = Launch {
        last_model: stored(MODEL),
        ..Launch::default()
    };
    let Ok(query) = UrlSearchParams::new_with_str(&query) else {
        return launch;
    };
    ["backend", "threads", "model", "autoload", "bench", "hub"]
        .into_iter()
        .fold(launch, |launch, name| match query.get(name) {
            Some(value) => launch.with(name, &value),
            None => launch,
        })
}

fn local_storage() -> Option<Storage> {
    window().local_storage().ok().flatten()
}

fn session_storage() -> Option<Storage> {
    window().session_storage().ok().flatten()
}

pub fn stored(key: &str) -> Option<String> {
    local_storage()?.get_item(key).ok().flatten()
}

pub fn store(key: &str, value: &str) {
    let _ = local_storage().map(|s| s.set_item(key, value));
}

pub fn session(key: &str) -> Option<String> {
    session_storage()?.get_item(key).ok().flatten()
}

pub fn keep_in_session(key: &str, value: &str) {
    let _ = session_storage().map(|s| s.set_item(key, value));
}

/// The theme that is on show: the visitor's choice, or the system's.
pub fn is_dark() -> bool {
    match root().and_then(|r| r.dataset().get("theme")).as_deref() {
        Some("dark") => true,
        Some("light") => false,
        _ => window()
            .match_media("(prefers-color-scheme: dark)")
            .ok()
            .flatten()
            .is_some_and(|m| m.matches()),
    }
}

/// Calls `changed` when the system turns dark or light.
pub fn on_system_theme(changed: impl Fn() + 'static) {
    let changed = Closure::<dyn Fn()>::new(changed).into_js_value();
    if let Ok(Some(dark)) = window().match_media("(prefers-color-scheme: dark)") {
        let _ = dark.add_event_listener_with_callback("change", changed.unchecked_ref());
    }
}

/// "light", "dark", or "" for the system's.
pub fn set_theme(theme: &str) {
    if let Some(root) = root() {
        if theme.is_empty() {
            root.dataset().delete("theme");
        } else {
            let _ = root.dataset().set("theme", theme);
        }
    }
    store(THEME, theme);
}

fn root() -> Option<HtmlElement> {
    window().document()?.document_element()?.dyn_into().ok()
}

pub fn by_id(id: &str) -> Option<Element> {
    window().document()?.get_element_by_id(id)
}

pub fn remove(id: &str) {
    if let Some(element) = by_id(id) {
        element.remove();
    }
}

pub fn focus(id: &str) {
    if let Some(element) = by_id(id).and_then(|e| e.dyn_into::<HtmlElement>().ok()) {
        let _ = element.focus();
    }
}

/// Shows index.html's own sentence about a broken page: the views can no longer do it.
pub fn show_crash() {
    if let Some(element) = by_id("crash") {
        let _ = element.remove_attribute("hidden");
    }
}

/// Copies a text; false if the browser does not let us.
pub async fn copy(text: String) -> bool {
    let navigator = window().navigator();
    let clipboard = js_sys::Reflect::get(&navigator, &"clipboard".into());
    if !clipboard.is_ok_and(|c| c.is_object()) {
        return false;
    }
    JsFuture::from(navigator.clipboard().write_text(&text))
        .await
        .is_ok()
}

pub fn carries_files(event: &DragEvent) -> bool {
    event
        .data_transfer()
        .is_some_and(|data| data.types().includes(&"Files".into(), 0))
}

pub fn dropped(event: &DragEvent) -> Vec<File> {
    event
        .data_transfer()
        .and_then(|data| data.files())
        .map(|list| files(&list))
        .unwrap_or_default()
}

pub fn files(list: &FileList) -> Vec<File> {
    (0..list.length()).filter_map(|i| list.get(i)).collect()
}
