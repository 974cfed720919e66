//! How tokens are drawn: the page's settings and a model's recommendations.

use serde::{Deserialize, Serialize};

/// How tokens are drawn; the engine's `Sampling` as the page sends it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 always picks the most likely token.
    pub temperature: f32,
    /// Keep the k most likely tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the most likely tokens until their probabilities sum to this; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this fraction as likely as the most likely one; 0 keeps all.
    pub min_p: f32,
    /// How much tokens that already occurred are held back; 1 is off.
    pub repetition_penalty: f32,
    /// The same seed, settings and conversation give the same answer; `None` draws a new one.
    pub seed: Option<u32>,
}

impl Default for Sampling {
    /// Mild randomness, which suits models of a few hundred million weights; the engine's `Sampling::MILD`.
    fn default() -> Self {
        Self {
            temperature: 0.3,
            top_k: 40,
            top_p: 0.9,
            min_p: 0.05,
            repetition_penalty: 1.1,
            seed: None,
        }
    }
}

/// Some of [`Sampling`]'s values: what a model's author recommends, or what the visitor prefers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preferences {
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
    /// [`Sampling::seed`]
    pub seed: Option<u32>,
}

impl Preferences {
    /// Each value within what the engine accepts; what is no number is no preference.
    #[must_use]
    pub fn in_range(self) -> Self {
        let within = |x: Option<f32>, low: f32, high: f32| {
            x.filter(|x| x.is_finite()).map(|x| x.clamp(low, high))
        };
        Self {
            temperature: within(self.temperature, 0.0, 2.0),
            top_k: self.top_k.map(|k| k.min(1000)),
            top_p: within(self.top_p, 0.05, 1.0),
            min_p: within(self.min_p, 0.0, 0.5),
            repetition_penalty: within(self.repetition_penalty, 1.0, 2.0),
            seed: self.seed,
        }
    }

    /// `otherwise`, where nothing is preferred.
    pub fn or(self, otherwise: Sampling) -> Sampling {
        Sampling {
            temperature: self.temperature.unwrap_or(otherwise.temperature),
            top_k: self.top_k.unwrap_or(otherwise.top_k),
            top_p: self.top_p.unwrap_or(otherwise.top_p),
            min_p: self.min_p.unwrap_or(otherwise.min_p),
            repetition_penalty: self
                .repetition_penalty
                .unwrap_or(otherwise.repetition_penalty),
            seed: self.seed.or(otherwise.seed),
        }
    }
}
