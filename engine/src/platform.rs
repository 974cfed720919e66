//! The few things that a browser's worker and a native thread do differently: clocks and waiting.

/// The CPU backend's name.
pub const CPU: &str = if cfg!(target_arch = "wasm32") {
    "CPU · wasm simd128"
} else {
    "CPU"
};

/// Milliseconds since some fixed moment.
#[cfg(not(target_arch = "wasm32"))]
pub fn now_ms() -> f64 {
    use std::{sync::OnceLock, time::Instant};
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1e3
}

/// Seconds since 1970 in UTC.
#[cfg(not(target_arch = "wasm32"))]
pub fn unix_seconds() -> u64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_secs())
}

/// Lets whatever else waits for this thread run; in a browser's worker, the messages that arrived.
#[cfg(not(target_arch = "wasm32"))]
pub async fn yield_now() {}

/// Whether this is that browser.
#[cfg(not(target_arch = "wasm32"))]
pub fn is_firefox() -> bool {
    false
}

/// Waits.
#[cfg(not(target_arch = "wasm32"))]
pub async fn sleep_ms(ms: u32) {
    std::thread::sleep(std::time::Duration::from_millis(u64::from(ms)));
}

#[cfg(target_arch = "wasm32")]
pub use web::{is_firefox, now_ms, sleep_ms, unix_seconds, yield_now};

#[cfg(target_arch = "wasm32")]
mod web {
    use js_sys::{Function, Promise};
    use wasm_bindgen::{JsCast, JsValue};
    use wasm_bindgen_futures::JsFuture;
    use web_sys::MessageChannel;

    /// Milliseconds since the worker (or page) started.
    pub fn now_ms() -> f64 {
        let performance =
            js_sys::Reflect::get(&js_sys::global(), &JsValue::from_str("performance"));
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
        let get = |of: &JsValue, key: &str| js_sys::Reflect::get(of, &JsValue::from_str(key));
        get(&js_sys::global(), "navigator")
            .and_then(|navigator| get(&navigator, "userAgent"))
            .ok()
            .and_then(|agent| agent.as_string())
            .is_some_and(|agent| agent.contains("Firefox/"))
    }

    /// Waits. The function is the global object's, whatever that is: a worker's or a page's.
    pub async fn sleep_ms(ms: u32) {
        let global = js_sys::global();
        let set_timeout = js_sys::Reflect::get(&global, &JsValue::from_str("setTimeout"));
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
}
