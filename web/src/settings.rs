//! What the visitor can set, kept between visits.

use crate::protocol::{BackendChoice, Precision, Preferences};
use serde::{Deserialize, Serialize};

/// The settings sheet's content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// How tokens are drawn, where the visitor wants it otherwise than the model's author.
    pub sampling: Preferences,
    /// Longest answer in tokens.
    pub max_tokens: u32,
    /// Context length in tokens.
    pub context: u32,
    /// Instructions that stand before every conversation; blank for none.
    pub system_prompt: String,
    /// What runs the model.
    pub backend: BackendChoice,
    /// What becomes of weights that come unpacked.
    pub precision: Precision,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sampling: Preferences::default(),
            max_tokens: 512,
            context: 2048,
            system_prompt: String::new(),
            backend: BackendChoice::Auto,
            precision: Precision::Auto,
        }
    }
}

impl Settings {
    /// Longest answer that can be asked for, and the longest context, in tokens.
    pub const MAX_TOKENS: u32 = 32_768;
    /// Shortest context that can hold a conversation.
    pub const MIN_CONTEXT: u32 = 64;

    /// From what was stored; anything unreadable or out of range falls back to its default.
    pub fn from_json(json: &str) -> Self {
        serde_json::from_str::<Self>(json)
            .unwrap_or_default()
            .in_range()
    }

    /// For storing.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("settings are plain data")
    }

    /// Each value within what the engine accepts.
    pub fn in_range(mut self) -> Self {
        self.sampling = self.sampling.in_range();
        self.max_tokens = self.max_tokens.clamp(1, Self::MAX_TOKENS);
        self.context = self.context.clamp(Self::MIN_CONTEXT, Self::MAX_TOKENS);
        self
    }

    /// Whether a loaded model has to be loaded anew to follow `self` after `before`.
    pub fn needs_reload_after(&self, before: &Self) -> bool {
        let loading = |s: &Self| (s.backend, s.context, s.precision);
        loading(self) != loading(before)
    }
}

/// What the address asks for: `?backend=cpu|gpu&threads=N&model=ID-or-URL-or-owner/name&autoload&bench&hub=URL`; and
/// what was there at the last visit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Overrides the settings for this visit.
    pub backend: Option<BackendChoice>,
    /// A model of the catalog, the address of a GGUF file, or a repository of the hub.
    pub model: Option<String>,
    /// Load without being asked, or never; where it is not said, a model that is on this device or comes with the page.
    pub autoload: Option<bool>,
    /// Offer to measure the model.
    pub bench: bool,
    /// Address of the hub, without a slash at its end.
    pub site: String,
    /// Threads of the CPU backend.
    pub threads: Option<u32>,
    /// Id of the model that was loaded last, at this visit or an earlier one.
    pub last_model: Option<String>,
}

impl Default for Launch {
    fn default() -> Self {
        Self {
            backend: None,
            model: None,
            autoload: None,
            bench: false,
            site: hub::SITE.to_owned(),
            threads: None,
            last_model: None,
        }
    }
}

impl Launch {
    /// From one parameter of the query; unknown ones are ignored.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        match (name, value) {
            ("backend", "cpu") => self.backend = Some(BackendChoice::Cpu),
            ("backend", "gpu" | "webgpu") => self.backend = Some(BackendChoice::Gpu),
            ("backend", "auto") => self.backend = Some(BackendChoice::Auto),
            ("model", value) if !value.is_empty() => self.model = Some(value.to_owned()),
            ("threads", value) => self.threads = value.parse().ok().filter(|n| *n > 0),
            ("autoload", value) => self.autoload = Some(!matches!(value, "0" | "false")),
            ("bench", value) => self.bench = !matches!(value, "0" | "false"),
            ("hub", value) if value.starts_with("https://") || value.starts_with("http://") => {
                self.site = value.trim_end_matches('/').to_owned();
            }
            _ => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_storing() {
        let settings = Settings {
            system_prompt: "Be \"brief\".\n".into(),
            max_tokens: 7,
            ..Settings::default()
        };
        assert_eq!(Settings::from_json(&settings.to_json()), settings);
    }

    #[test]
    fn unreadable_settings_become_the_defaults() {
        for json in ["", "null", "{\"sampling\":3}", "[1"] {
            assert_eq!(Settings::from_json(json), Settings::default(), "{json}");
        }
    }

    #[test]
    fn values_out_of_range_are_brought_back() {
        let mut wild = Settings {
            max_tokens: 0,
            context: u32::MAX,
            ..Settings::default()
        };
        wild.sampling.temperature = Some(f32::NAN);
        wild.sampling.top_p = Some(-1.0);
        let tame = wild.in_range();
        assert_eq!((tame.max_tokens, tame.context), (1, Settings::MAX_TOKENS));
        assert_eq!(tame.sampling.temperature, None);
        assert_eq!(tame.sampling.top_p, Some(0.05));
    }

    #[test]
    fn the_address_sets_backend_model_and_more() {
        let launch = Launch::default()
            .with("backend", "cpu")
            .with("model", "a/b.gguf")
            .with("autoload", "")
            .with("bench", "")
            .with("hub", "https://hub.example/")
            .with("threads", "2")
            .with("utm", "x");
        assert_eq!(launch.backend, Some(BackendChoice::Cpu));
        assert_eq!(launch.model.as_deref(), Some("a/b.gguf"));
        assert!(launch.autoload == Some(true) && launch.bench);
        assert_eq!(launch.clone().with("autoload", "0").autoload, Some(false));
        assert_eq!(launch.threads, Some(2));
        assert_eq!(launch.clone().with("threads", "0").threads, None);
        assert_eq!(launch.site, "https://hub.example");
        assert_eq!(
            launch.with("hub", "javascript:0").site,
            "https://hub.example"
        );
        assert_eq!(Launch::default().with("backend", "tpu"), Launch::default());
    }
}
