//! Rotary frequencies, with the published ways of stretching them to longer contexts.

use super::bad;
use crate::Result;
use serde::Deserialize;
use std::f32::consts::PI;

/// `rope_scaling` of a config.json, and `rope_parameters` of newer ones.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RopeScaling {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    pub rope_theta: Option<f32>,
    factor: Option<f32>,
    low_freq_factor: Option<f32>,
    high_freq_factor: Option<f32>,
    original_max_position_embeddings: Option<f32>,
}

impl RopeScaling {
    /// Stretches `frequencies[pairs]` (radians per position) in place.
    ///
    /// # Errors
    /// [`Error::BadConfig`](crate::Error::BadConfig) for a `rope_type` that is not known or lacks its parameters.
    pub fn apply(&self, frequencies: &mut [f32]) -> Result<()> {
        match self.rope_type.as_deref() {
            None | Some("default") => Ok(()),
            Some("linear") => {
                let factor = self.positive("factor", self.factor)?;
                frequencies.iter_mut().for_each(|f| *f /= factor);
                Ok(())
            }
            Some("llama3") => self.llama3(frequencies),
            Some(other) => Err(bad(format!(
                "rope scaling '{other}' is not known; 'default', 'linear' and 'llama3' are"
            ))),
        }
    }

    /// Llama 3.1: long waves are stretched by `factor`, short ones kept, those between blended.
    fn llama3(&self, frequencies: &mut [f32]) -> Result<()> {
        let factor = self.positive("factor", self.factor)?;
        let low = self.positive("low_freq_factor", self.low_freq_factor)?;
        let high = self.positive("high_freq_factor", self.high_freq_factor)?;
        let original = self.positive(
            "original_max_position_embeddings",
            self.original_max_position_embeddings,
        )?;
        for f in frequencies {
            let wavelength = 2.0 * PI / *f;
            if wavelength > original / low {
                *f /= factor;
            } else if wavelength >= original / high {
                let blend = (original / wavelength - low) / (high - low);
                *f = (1.0 - blend) * *f / factor + blend * *f;
            }
        }
        Ok(())
    }

    fn positive(&self, key: &str, value: Option<f32>) -> Result<f32> {
        value
            .filter(|v| *v > 0.0)
            .ok_or_else(|| bad(format!("rope scaling needs a positive '{key}'")))
    }
}
