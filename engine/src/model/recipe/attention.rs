//! Metric attention with BlackHoleRoPE, from a recipe.

use super::{Factor, Recorder, factors, vector};
use crate::{
    Result,
    model::{bad, blocks},
    op::{Act, Balls, Heads, Metric, Pairing, Rotary, Similarity},
    weights::Scope,
};
use serde::Deserialize;
use std::f32::consts::TAU;

/// Causal attention, `x[n, d] → [n, heads · head_dim]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attention {
    /// Matrices `[heads · head_dim, d]`, and `[kv_heads · head_dim, d]` twice.
    q: String,
    k: String,
    v: String,
    metric: MetricName,
    heads: usize,
    /// As many as there are heads, unless said otherwise; 1 is multi-query attention.
    kv_heads: Option<usize>,
    /// Whether scores are divided by `√head_dim`; dot products and plain distances are, unless said otherwise.
    scaled: Option<bool>,
    /// `[heads]`, times the score.
    alpha: Option<Factor>,
    /// `[heads, head_dim]`, for `maha_diag` alone.
    diagonal: Option<Factor>,
    balls: Option<BallNames>,
    rope: Option<Rope>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum MetricName {
    Dot,
    L2,
    Cosine,
    MahaDiag,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BallNames {
    /// `[heads, head_dim]`
    origin: String,
    /// `[heads]`
    radius: Factor,
    /// Whether keys are masked by them: files hold them even where they are not used.
    #[serde(default = "yes")]
    used: bool,
}

/// Rotations with learned phases, and energies of values. Both are matrices, with a bias where the file has one,
/// over the basis `cos(2π r pos / period)`, then `sin(…)`, for `r = 1 ..= columns / 2`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rope {
    theta: f32,
    #[serde(default)]
    interleaved: bool,
    /// Positions after which the basis repeats.
    #[serde(default = "two_thousand")]
    period: f32,
    /// `[head_dim / 2, 2 · R]`: radians that are added for each pair.
    phase: Option<String>,
    /// `[k, 2 · R]`, `k` dividing the values' width: logits of what values are multiplied by.
    energy: Option<String>,
    #[serde(default = "half_to_two")]
    energy_range: (f32, f32),
}

fn yes() -> bool {
    true
}

fn two_thousand() -> f32 {
    2048.0
}

fn half_to_two() -> (f32, f32) {
    (0.5, 2.0)
}

impl Recorder {
    pub(super) fn attention(&mut self, a: &Attention, scope: &Scope<'_>, x: Act) -> Result<Act> {
        self.not_in_the_head("attention")?;
        let mut q = self.linear(&a.q, scope, x)?;
        let mut k = self.linear(&a.k, scope, x)?;
        let mut v = self.linear(&a.v, scope, x)?;
        let heads = a.heads(q, k, v)?;
        if let Some(rope) = &a.rope {
            let rotary = rope.rotary(heads.head_dim);
            [q, k] = match self.positional(rope, rope.phase.as_ref(), scope)? {
                None => [q, k].map(|x| self.b.rope(x, &rotary)),
                Some(phases) if phases.width == rotary.frequencies.len() => {
                    [q, k].map(|x| self.b.rope_with_phases(x, &rotary, phases))
                }
                Some(phases) => {
                    return Err(bad(format!(
                        "{} phases for heads of {}",
                        phases.width, heads.head_dim
                    )));
                }
            };
            v = match self.positional(rope, rope.energy.as_ref(), scope)? {
                None => v,
                Some(energy) if v.width.is_multiple_of(energy.width) => {
                    self.b.gate(v, energy, rope.energy_range)
                }
                Some(energy) => {
                    return Err(bad(format!(
                        "{} energies for values of {}",
                        energy.width, v.width
                    )));
                }
            };
        }
        let metric = a.metric(scope, heads)?;
        let (k, v) = (self.b.store(k), self.b.store(v));
        Ok(self.b.metric_attention(q, k, v, heads, metric))
    }

    /// A matrix over the position's Fourier basis, where the file has it.
    fn positional(
        &mut self,
        rope: &Rope,
        name: Option<&String>,
        scope: &Scope<'_>,
    ) -> Result<Option<Act>> {
        let Some(name) = name else { return Ok(None) };
        let Some(&[_, cols]) = scope.at(name).shape("weight") else {
            return Ok(None);
        };
        if rope.period <= 0.0 {
            return Err(bad(format!("a period of {} positions", rope.period)));
        }
        let n = (cols / 2).max(1);
        let basis = self.basis(n, rope.period);
        self.linear(name, scope, basis).map(Some)
    }

    /// `[n, 2 · harmonics]`, recorded once.
    fn basis(&mut self, harmonics: usize, period: f32) -> Act {
        let known = self
            .bases
            .iter()
            .find(|(n, p, _)| (*n, *p) == (harmonics, period));
        if let Some((_, _, basis)) = known {
            return *basis;
        }
        let frequencies = (1..=harmonics).map(|r| TAU * r as f32 / period);
        let basis = self.b.fourier(frequencies.collect());
        self.bases.push((harmonics, period, basis));
        basis
    }
}

impl Attention {
    fn heads(&self, q: Act, k: Act, v: Act) -> Result<Heads> {
        let n_kv_heads = self.kv_heads.unwrap_or(self.heads);
        let head_dim = q.width / self.heads.max(1);
        let heads = blocks::heads(self.heads, n_kv_heads, head_dim)?;
        let kv_width = n_kv_heads * head_dim;
        let widths = [q.width, k.width, v.width];
        if widths != [self.heads * head_dim, kv_width, kv_width] || !head_dim.is_multiple_of(4) {
            return Err(bad(format!(
                "queries, keys and values are {widths:?} wide, for {} and {n_kv_heads} heads of a multiple of 4",
                self.heads
            )));
        }
        Ok(heads)
    }

    fn metric(&self, scope: &Scope<'_>, heads: Heads) -> Result<Metric> {
        let Heads {
            n_heads, head_dim, ..
        } = heads;
        let (similarity, scaled) = match self.metric {
            MetricName::Dot => (Similarity::Dot, true),
            MetricName::L2 => (Similarity::NegSqDist, true),
            MetricName::Cosine => (Similarity::Cosine, false),
            MetricName::MahaDiag => (Similarity::NegSqDist, false),
        };
        let mut metric = Metric {
            similarity,
            ..Metric::dot(if self.scaled.unwrap_or(scaled) {
                (head_dim as f32).sqrt().recip()
            } else {
                1.0
            })
        };
        if let Some(alpha) = &self.alpha {
            metric.alpha = factors(scope, alpha, Some(n_heads))?;
        }
        if self.metric == MetricName::MahaDiag {
            let Some(diagonal) = &self.diagonal else {
                return Err(bad("'maha_diag' needs the name of a 'diagonal'".into()));
            };
            metric.diagonal = factors(scope, diagonal, Some(n_heads * head_dim))?;
            if metric.diagonal.is_none() {
                // Says that it is missing.
                scope.tensor(&diagonal.name, &[n_heads, head_dim])?;
            }
        }
        if let Some(balls) = &self.balls {
            metric.balls = balls.take(scope, n_heads, head_dim)?;
        }
        Ok(metric)
    }
}

impl BallNames {
    /// Where the file has them and they are used.
    fn take(&self, scope: &Scope<'_>, n_heads: usize, head_dim: usize) -> Result<Option<Balls>> {
        if !self.used {
            for name in [&self.origin, &self.radius.name] {
                if let Some(shape) = scope.shape(name) {
                    scope.tensor(name, shape)?;
                }
            }
            return Ok(None);
        }
        let origins = vector(scope, &self.origin, Some(n_heads * head_dim))?;
        let radii = factors(scope, &self.radius, Some(n_heads))?;
        match (origins, radii) {
            (Some(origins), Some(radii)) => Ok(Some(Balls { origins, radii })),
            (None, None) => Ok(None),
            _ => Err(bad(format!(
                "of '{}' and '{}' it has one alone",
                self.origin, self.radius.name
            ))),
        }
    }
}

impl Rope {
    fn rotary(&self, head_dim: usize) -> Rotary {
        Rotary {
            head_dim,
            pairing: if self.interleaved {
                Pairing::Interleaved
            } else {
                Pairing::Half
            },
            frequencies: blocks::frequencies(head_dim, self.theta),
        }
    }
}
