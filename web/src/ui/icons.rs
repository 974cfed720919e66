//! Line icons, 24 × 24.

use leptos::prelude::*;

/// An icon made of one path; it says nothing to a screen reader.
#[component]
pub(super) fn Icon(path: &'static str) -> impl IntoView {
    view! {
        <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
            <path d=path />
        </svg>
    }
}

pub(super) const PLUS: &str = "M12 5v14M5 12h14";
pub(super) const SLIDERS: &str = "M4 7h9M19 7h1M4 17h1M11 17h9M16 4.5v5M8 14.5v5";
pub(super) const MOON: &str = "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z";
pub(super) const SUN: &str = "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2.5v2M12 19.5v2M4.6 4.6 6 6M18 18l1.4 1.4M2.5 12h2M19.5 12h2M4.6 19.4 6 18M18 6l1.4-1.4";
pub(super) const SEND: &str = "M12 19V5M5.5 11.5 12 5l6.5 6.5";
pub(super) const DOWN: &str = "M12 5v14M5.5 12.5 12 19l6.5-6.5";
pub(super) const CLOSE: &str = "M6 6l12 12M18 6 6 18";
pub(super) const COPY: &str = "M9 9h10v11H9zM5 15V4h10";
pub(super) const CHECK: &str = "M5 12.5 10 17.5 19 7";
pub(super) const AGAIN: &str = "M19.5 12a7.5 7.5 0 1 1-2.2-5.3L19.5 9M19.5 4v5h-5";
pub(super) const EDIT: &str = "M4 20h4L19 9l-4-4L4 16v4Z";
