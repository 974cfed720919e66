//! Natively: the standard library, and Hugging Face's own regular expressions and Unicode tables.

use std::{ops::Range, sync::OnceLock, time::Instant};

use tokenizers::{
    NormalizedString, Normalizer,
    normalizers::{NFC, NFD, NFKC, NFKD},
    utils::SysRegex,
};

use super::NormalForm;

/// Milliseconds since some fixed moment.
pub fn now_ms() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1e3
}

/// Seconds since 1970 in UTC.
pub fn unix_seconds() -> u64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_secs())
}

/// Lets whatever else waits for this thread run; in a browser's worker, the messages that arrived.
pub async fn yield_now() {}

/// Whether this is that browser.
pub fn is_firefox() -> bool {
    false
}

/// Waits.
pub async fn sleep_ms(ms: u32) {
    std::thread::sleep(std::time::Duration::from_millis(u64::from(ms)));
}

/// A regular expression in the dialect of Rust's `fancy-regex`.
#[derive(Debug)]
pub struct Regex(SysRegex);

impl Regex {
    /// # Errors
    /// What is wrong with the pattern.
    pub fn new(pattern: &str) -> Result<Regex, String> {
        SysRegex::new(pattern).map(Regex).map_err(|e| e.to_string())
    }

    /// Where it matches, in bytes, from left to right.
    pub fn find(&self, text: &str) -> Vec<Range<usize>> {
        self.0.find_iter(text).map(|(from, to)| from..to).collect()
    }
}

/// The text in one of Unicode's normal forms (Unicode Standard Annex 15).
pub fn normalize(text: &str, form: NormalForm) -> String {
    let mut text = NormalizedString::from(text);
    let done = match form {
        NormalForm::Nfc => NFC.normalize(&mut text),
        NormalForm::Nfd => NFD.normalize(&mut text),
        NormalForm::Nfkc => NFKC.normalize(&mut text),
        NormalForm::Nfkd => NFKD.normalize(&mut text),
    };
    // None of the four can fail.
    debug_assert!(done.is_ok());
    text.get().to_string()
}
