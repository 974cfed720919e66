//! What files do not say about a model: built-in profiles of what is published (models/profiles.json), and a
//! visitor's own sidecar, `thimble.json`, in the same words. Both go before config.json.
//!
//! Beside config.json's own keys they may hold
//!
//! - `chat_template`: Jinja; `null` for a model that only continues text;
//! - `begins_with_bos`: whether a conversation begins with the BOS token, though its template does not write it;
//! - `stop`: strings that end an answer and are not part of it;
//! - `sampling`: what the author recommends, [`Recommended`];
//! - the switches of its family ([`Switch`](crate::model::Switch)), and a `recipe` (docs/adding-a-model.md).

use crate::{Error, Result, sampler::Sampling, weights::source::Source};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A visitor's own settings beside a model, and how a built-in profile travels. Of several the first goes before
/// the others.
pub const SIDECAR: &str = "thimble.json";

/// Keys and values, to be laid over others.
pub type Settings = Map<String, Value>;

#[derive(Deserialize)]
struct Profiles {
    /// By the family's first `model_type`. These go after config.json: they are guesses for files of unknown origin.
    families: BTreeMap<String, Settings>,
    repositories: Vec<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    /// `owner/name`
    names: Vec<String>,
    says: Settings,
}

fn profiles() -> Profiles {
    serde_json::from_str(include_str!("../../models/profiles.json"))
        .expect("profiles of ours are JSON")
}

/// What holds for a family where nothing else says otherwise.
pub fn of_family(family: &str) -> Settings {
    profiles().families.remove(family).unwrap_or_default()
}

/// What is known of a published repository, as a sidecar; to be added after the visitor's own. `name` is
/// `owner/name`, or the name alone as folders have it.
pub fn of_repository(name: &str) -> Option<Source> {
    let is_meant = |known: &String| {
        let short = known.rsplit('/').next().unwrap_or_default();
        name.eq_ignore_ascii_case(known) || name.eq_ignore_ascii_case(short)
    };
    let mut repositories = profiles().repositories.into_iter();
    let profile = repositories.find(|profile| profile.names.iter().any(is_meant))?;
    let json = Value::Object(profile.says).to_string();
    Some(Source::memory(SIDECAR, json.into_bytes()))
}

/// Lays settings over others; objects are laid over objects key by key.
pub fn lay_over(settings: &mut Settings, over: Settings) {
    for (key, value) in over {
        match (settings.get_mut(&key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => below.extend(above),
            (_, value) => {
                settings.insert(key, value);
            }
        }
    }
}

/// A JSON object of a model's files.
///
/// # Errors
/// [`Error::BadConfig`] when it is something else.
pub fn object(file: &str, bytes: &[u8]) -> Result<Settings> {
    let bad = |problem: String| Error::BadConfig {
        file: file.into(),
        problem,
    };
    match serde_json::from_slice(bytes).map_err(|e| bad(format!("it is no JSON: {e}")))? {
        Value::Object(settings) => Ok(settings),
        _ => Err(bad("it is no JSON object".into())),
    }
}

/// How a model wants to be talked to.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Manners {
    /// Whether a conversation begins with the BOS token, though its template does not write it.
    pub begins_with_bos: bool,
    /// Strings that end an answer and are not part of it.
    pub stop: Vec<String>,
    /// What its author recommends.
    pub sampling: Recommended,
}

impl Manners {
    /// From profiles and sidecars.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when a value is of the wrong kind.
    pub fn read(settings: &Settings) -> Result<Self> {
        let all = Value::Object(settings.clone());
        let manners = Self::deserialize(all).map_err(|e| Error::BadConfig {
            file: SIDECAR.into(),
            problem: e.to_string(),
        })?;
        Ok(Self {
            sampling: manners.sampling.sound(),
            ..manners
        })
    }
}

/// Sampling that a model's author recommends, as far as they say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Recommended {
    /// [`Sampling::temperature`]
    pub temperature: Option<f32>,
    /// [`Sampling::top_k`]
    pub top_k: Option<u32>,
    /// [`Sampling::top_p`]
    pub top_p: Option<f32>,
    /// [`Sampling::min_p`]
    pub min_p: Option<f32>,
    /// [`Sampling::repetition_penalty`]
    pub repetition_penalty: Option<f32>,
}

impl Recommended {
    /// What generation_config.json recommends, as a profile says it; nothing where it cannot be read.
    pub fn of_generation_config(json: &[u8]) -> Settings {
        #[derive(Deserialize)]
        struct Config {
            do_sample: Option<bool>,
            #[serde(flatten)]
            all: Settings,
        }
        let Ok(mut config) = serde_json::from_slice::<Config>(json) else {
            return Settings::new();
        };
        let keys = [
            "temperature",
            "top_k",
            "top_p",
            "min_p",
            "repetition_penalty",
        ];
        config
            .all
            .retain(|key, value| keys.contains(&key.as_str()) && value.is_number());
        if config.do_sample == Some(false) {
            config.all.insert("temperature".into(), 0.0.into());
        }
        let sampling = Value::Object(config.all);
        match Self::deserialize(&sampling) {
            Ok(_) => Settings::from_iter([("sampling".into(), sampling)]),
            Err(_) => Settings::new(),
        }
    }

    /// What no sampler can follow is not recommended: a file may say anything.
    #[must_use]
    fn sound(self) -> Self {
        let within = |x: Option<f32>, low: f32, high: f32| x.filter(|x| (low..=high).contains(x));
        Self {
            temperature: within(self.temperature, 0.0, 10.0),
            top_k: self.top_k,
            top_p: within(self.top_p, 0.01, 1.0),
            min_p: within(self.min_p, 0.0, 1.0),
            repetition_penalty: within(self.repetition_penalty, 0.1, 10.0),
        }
    }

    /// `otherwise`, where nothing is recommended.
    pub fn or(self, otherwise: Sampling) -> Sampling {
        Sampling {
            temperature: self.temperature.unwrap_or(otherwise.temperature),
            top_k: self.top_k.unwrap_or(otherwise.top_k),
            top_p: self.top_p.unwrap_or(otherwise.top_p),
            min_p: self.min_p.unwrap_or(otherwise.min_p),
            repetition_penalty: self
                .repetition_penalty
                .unwrap_or(otherwise.repetition_penalty),
            seed: otherwise.seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::ARCHS, text::chat::ChatTemplate};
    use serde_json::json;

    fn settings(json: Value) -> Settings {
        match json {
            Value::Object(settings) => settings,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn every_profile_can_be_followed() {
        let Profiles {
            families,
            repositories,
        } = profiles();
        for family in families.keys() {
            let known = ARCHS.iter().any(|arch| arch.model_types[0] == family);
            assert!(known, "{family}");
        }
        let all = families
            .into_values()
            .chain(repositories.into_iter().map(|profile| profile.says));
        for says in all {
            Manners::read(&says).unwrap();
            if let Some(Value::String(template)) = says.get("chat_template") {
                ChatTemplate::new(template, &BTreeMap::new()).unwrap();
            }
        }
    }

    #[test]
    fn repositories_are_found_by_name() {
        for name in [
            "Lernex/Metis-1.5-base",
            "lernex/metis-1.5-BASE",
            "Metis-1.5-base",
        ] {
            let source = of_repository(name).unwrap();
            assert_eq!(source.name(), SIDECAR);
        }
        assert!(of_repository("Lernex/Metis-1.6").is_none());
    }

    #[test]
    fn objects_are_laid_over_key_by_key() {
        let mut below = settings(json!({"a": 1, "sampling": {"top_k": 1, "top_p": 0.5}}));
        lay_over(
            &mut below,
            settings(json!({"chat_template": null, "sampling": {"top_k": 7}})),
        );
        let expected =
            json!({"a": 1, "chat_template": null, "sampling": {"top_k": 7, "top_p": 0.5}});
        assert_eq!(Value::Object(below), expected);
    }

    #[test]
    fn generation_configs_recommend_what_they_say() {
        let read = |json: &str| {
            let says = Recommended::of_generation_config(json.as_bytes());
            Manners::read(&says).unwrap().sampling
        };
        let metis =
            read(r#"{"do_sample": true, "temperature": 0.7, "top_p": 0.95, "eos_token_id": 2}"#);
        assert_eq!((metis.temperature, metis.top_p), (Some(0.7), Some(0.95)));
        assert_eq!((metis.top_k, metis.repetition_penalty), (None, None));
        let greedy = read(r#"{"do_sample": false, "top_k": null}"#);
        assert_eq!(greedy.temperature, Some(0.0));
        for unreadable in ["[3]", r#"{"top_k": -1}"#] {
            assert_eq!(read(unreadable), Recommended::default());
        }
        let absurd = read(
            r#"{"temperature": 1e60, "top_p": 0, "min_p": -1, "repetition_penalty": 0, "top_k": 5}"#,
        );
        let top_k = Some(5);
        assert_eq!(
            absurd,
            Recommended {
                top_k,
                ..Recommended::default()
            }
        );
    }
}
