//! The few things that a browser's worker and a native thread do differently: clocks, waiting, and what a browser has
//! without a download: regular expressions and Unicode's normal forms.

#[cfg(target_arch = "wasm32")]
mod dialect;
#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(target_arch = "wasm32")]
mod web;

#[cfg(not(target_arch = "wasm32"))]
pub use native::{Regex, is_firefox, normalize, now_ms, sleep_ms, unix_seconds, yield_now};
#[cfg(target_arch = "wasm32")]
pub use web::{Regex, is_firefox, normalize, now_ms, sleep_ms, unix_seconds, yield_now};

/// The CPU backend's name.
pub const CPU: &str = if cfg!(feature = "relaxed-simd") {
    "CPU · wasm relaxed-simd"
} else if cfg!(target_arch = "wasm32") {
    "CPU · wasm simd128"
} else {
    "CPU"
};

/// Unicode's normal forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormalForm {
    /// Composed.
    Nfc,
    /// Decomposed.
    Nfd,
    /// Composed, and what only looks different made the same.
    Nfkc,
    /// Decomposed, and what only looks different made the same.
    Nfkd,
}
