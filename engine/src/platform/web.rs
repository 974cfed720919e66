//! In a browser's worker: its clock and event loop, and the regular expressions and Unicode tables that it has anyway.

use std::ops::Range;

use js_sys::{Array, Function, JsString, Promise, Reflect, RegExp};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::MessageChannel;

use super::{NormalForm, dialect::javascript};

/// Milliseconds since the worker (or page) started.
pub fn now_ms() -> f64 {
    let performance = get(&js_sys::global(), "performance");
    let performance: Option<web_sys::Performance> =
        performance.ok().and_then(|p| p.dyn_into().ok());
    performance.map_or_else(js_sys::Date::now, |p| p.now())
}

/// Seconds since 1970 in UTC.
pub fn unix_seconds() -> u64 {
    (js_sys::Date::now() / 1e3) as u64
}

/// One turn of the event loop. A message to oneself is a task of its own, without the 4 ms that a
/// nested `setTimeout` costs.
pub async fn yield_now() {
    let Ok(channel) = MessageChannel::new() else {
        return;
    };
    let turn = Promise::new(&mut |resolve: Function, _| {
        channel.port1().set_onmessage(Some(&resolve));
        if channel.port2().post_message(&JsValue::NULL).is_err() {
            let _ = resolve.call0(&JsValue::NULL);
        }
    });
    // A promise that cannot be rejected.
    let _ = JsFuture::from(turn).await;
    channel.port1().close();
}

/// Whether this is that browser, by what it says of itself.
pub fn is_firefox() -> bool {
    get(&js_sys::global(), "navigator")
        .and_then(|navigator| get(&navigator, "userAgent"))
        .ok()
        .and_then(|agent| agent.as_string())
        .is_some_and(|agent| agent.contains("Firefox/"))
}

/// Waits. The function is the global object's, whatever that is: a worker's or a page's.
pub async fn sleep_ms(ms: u32) {
    let global = js_sys::global();
    let set_timeout = get(&global, "setTimeout");
    let Some(set_timeout) = set_timeout.ok().and_then(|f| f.dyn_into::<Function>().ok()) else {
        return yield_now().await;
    };
    let timer = Promise::new(&mut |resolve: Function, _| {
        if set_timeout
            .call2(&global, &resolve, &JsValue::from(ms))
            .is_err()
        {
            let _ = resolve.call0(&JsValue::NULL);
        }
    });
    // A promise that cannot be rejected.
    let _ = JsFuture::from(timer).await;
}

/// A regular expression in the dialect of Rust's `fancy-regex`, as far as `super::dialect` can say it in JavaScript's.
#[derive(Debug)]
pub struct Regex(RegExp);

impl Regex {
    /// # Errors
    /// What is wrong with the pattern.
    pub fn new(pattern: &str) -> Result<Regex, String> {
        let said = |e: JsValue| {
            e.dyn_into().map_or_else(
                |e| format!("{e:?}"),
                |e: js_sys::Error| String::from(e.message()),
            )
        };
        // `RegExp::new` would throw, which ends the worker.
        let class = get(&js_sys::global(), "RegExp").map_err(said)?;
        let arguments = Array::of2(&javascript(pattern).into(), &"gu".into());
        let regex =
            Reflect::construct(class.unchecked_ref::<Function>(), &arguments).map_err(said)?;
        Ok(Regex(regex.unchecked_into()))
    }

    /// Where it matches, in bytes, from left to right.
    pub fn find(&self, text: &str) -> Vec<Range<usize>> {
        let matches = JsString::from(text).match_all(&self.0);
        // What JavaScript counts are UTF-16 units, and matches come in their order.
        let (mut units, mut rest) = (0, text.char_indices());
        let mut byte_at = |unit: usize| {
            while units < unit {
                units += rest.next().map_or(unit - units, |(_, c)| c.len_utf16());
            }
            rest.offset()
        };
        let place = |found: JsValue| {
            let from = get(&found, "index").ok()?.as_f64()? as usize;
            let length = found.unchecked_into::<Array<JsString>>().get(0).length();
            Some(byte_at(from)..byte_at(from + length as usize))
        };
        matches.into_iter().flatten().filter_map(place).collect()
    }
}

/// The text in one of Unicode's normal forms (Unicode Standard Annex 15).
pub fn normalize(text: &str, form: NormalForm) -> String {
    let form = match form {
        NormalForm::Nfc => "NFC",
        NormalForm::Nfd => "NFD",
        NormalForm::Nfkc => "NFKC",
        NormalForm::Nfkd => "NFKD",
    };
    JsString::from(text).normalize(form).into()
}

fn get(of: &JsValue, key: &str) -> Result<JsValue, JsValue> {
    Reflect::get(of, &JsValue::from_str(key))
}
