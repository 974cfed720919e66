//! What a file does not say about itself, found by trying: under the right reading of its bits a trained
//! model predicts plain English, under a wrong one it does not.

use crate::{Error, Result, model::Switch, sampler::Sampling, session::Session};
use serde_json::{Map, Value};
use std::{collections::HashMap, ops::Range};

/// What the readings are judged by: plain words that any English model has seen.
pub const TEXT: &str = "The sun was going down, and the children were still playing in the garden. \
Their mother called them to come in for dinner, but they did not want to stop. \"Just five more minutes,\" \
said the boy. She smiled and went back to the kitchen. The water in the pot was hot, and there was bread on \
the table. When it was dark they came in at last, washed their hands and sat down to eat.";

/// Tokens of [`TEXT`] that are read, at most.
const TOKENS: usize = 80;

/// A reading that is worse than guessing after so many tokens is given up.
const GLANCE: usize = 16;

/// A reading must beat guessing among all tokens by this many nats per token.
const MARGIN: f32 = 2.0;

/// Switches of two values whose combinations are all tried, at most.
const PAIRS: usize = 5;

/// Nats per token by which an unlikelier value must be better: what lies closer may be chance, for two readings of a few
/// dozen tokens that mean the same differ by some hundredths of a nat.
const TIE: f32 = 0.05;

/// The reading that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The switches and their settings, as keys of config.json.
    pub settings: Map<String, Value>,
    /// Mean negative log-likelihood of [`TEXT`] in nats per token.
    pub nll: f32,
}

/// Searches the settings of the switches that `config` leaves open: one after the other in their order, round
/// and round until nothing gets better; if that leads nowhere, every combination of the first switches with
/// two values. `evaluate` gives the mean negative log-likelihood under some settings. A family names those
/// switches first that most weights depend on: until they are right, the others show little.
///
/// # Errors
/// [`Error::NotUnderstood`] when nothing beats `ln(vocab) − 2`, and what `evaluate` fails with.
pub async fn search(
    switches: &[Switch],
    config: &Value,
    vocab: usize,
    evaluate: &mut impl AsyncFnMut(&Map<String, Value>) -> Result<f32>,
) -> Result<Option<Found>> {
    let open: Vec<&Switch> = switches
        .iter()
        .filter(|switch| config.get(switch.key).is_none())
        .collect();
    if open.is_empty() {
        return Ok(None);
    }
    let needed = (vocab as f32).ln() - MARGIN;
    let mut search = Search {
        open: &open,
        known: HashMap::new(),
        evaluate,
    };
    let mut best = vec![0; open.len()];
    let mut nll = search.descend(&mut best).await?;
    if nll >= needed {
        search.every_pair(&mut best).await?;
        nll = search.descend(&mut best).await?;
    }
    if nll >= needed {
        return Err(Error::NotUnderstood {
            nll: format!("{nll:.2}"),
            needed: format!("{needed:.2}"),
            tried: search.known.len(),
        });
    }
    let nll = search.settle(&mut best, nll).await?;
    let settings = search.settings(&best);
    Ok(Some(Found { settings, nll }))
}

struct Search<'s, F> {
    open: &'s [&'s Switch],
    /// By the index of each switch's value.
    known: HashMap<Vec<usize>, f32>,
    evaluate: &'s mut F,
}

impl<F: AsyncFnMut(&Map<String, Value>) -> Result<f32>> Search<'_, F> {
    /// Turns one switch at a time, as long as that helps; `best` is where it starts and ends.
    async fn descend(&mut self, best: &mut Vec<usize>) -> Result<f32> {
        let mut least = self.nll(best).await?;
        let mut unturned = 0;
        for i in (0..self.open.len()).cycle() {
            if unturned == self.open.len() {
                break;
            }
            let (mut turned, mut turned_nll) = (best.clone(), f32::INFINITY);
            for value in 0..self.open[i].values.len() {
                let mut other = best.clone();
                other[i] = value;
                let nll = self.nll(&other).await?;
                if nll < turned_nll {
                    (turned, turned_nll) = (other, nll);
                }
            }
            if turned_nll < least - TIE {
                (*best, least, unturned) = (turned, turned_nll, 0);
            }
            unturned += 1;
        }
        Ok(least)
    }

    /// Turns each switch to its likeliest value that is as good as the best.
    async fn settle(&mut self, best: &mut Vec<usize>, least: f32) -> Result<f32> {
        for i in 0..best.len() {
            for value in 0..best[i] {
                let mut other = best.clone();
                other[i] = value;
                if self.nll(&other).await? <= least + TIE {
                    *best = other;
                    break;
                }
            }
        }
        self.nll(best).await
    }

    /// All combinations of the first switches that have two values.
    async fn every_pair(&mut self, best: &mut Vec<usize>) -> Result<()> {
        let pairs: Vec<usize> = (0..self.open.len())
            .filter(|&i| self.open[i].values.len() == 2)
            .take(PAIRS)
            .collect();
        let mut least = self.nll(best).await?;
        for bits in 0..1usize << pairs.len() {
            let mut other = best.clone();
            for (at, &i) in pairs.iter().enumerate() {
                other[i] = bits >> at & 1;
            }
            let nll = self.nll(&other).await?;
            if nll < least {
                (*best, least) = (other, nll);
            }
        }
        Ok(())
    }

    async fn nll(&mut self, values: &[usize]) -> Result<f32> {
        if let Some(&nll) = self.known.get(values) {
            return Ok(nll);
        }
        let settings = self.settings(values);
        let nll = match (self.evaluate)(&settings).await {
            Ok(nll) if nll.is_nan() => f32::INFINITY,
            Ok(nll) => nll,
            // A reading under which the sizes do not fit together is a wrong one.
            Err(Error::BadConfig { .. } | Error::WeightShape { .. }) => f32::INFINITY,
            Err(e) => return Err(e),
        };
        self.known.insert(values.to_vec(), nll);
        Ok(nll)
    }

    fn settings(&self, values: &[usize]) -> Map<String, Value> {
        self.open
            .iter()
            .zip(values)
            .map(|(switch, &value)| (switch.key.to_owned(), switch.value(value)))
            .collect()
    }
}

/// Mean negative log-likelihood of a text's tokens in nats, the first of them given.
///
/// # Errors
/// What the GPU fails with.
pub async fn nll(session: &mut Session, tokens: &[u32]) -> Result<f32> {
    let n = tokens.len() - 1;
    Ok(sum(session, tokens, 0..n).await? / n as f32)
}

/// The same, but only of the first few tokens where they are worse than guessed.
///
/// # Errors
/// As [`nll`].
pub async fn judge(session: &mut Session, tokens: &[u32]) -> Result<f32> {
    let n = tokens.len() - 1;
    let few = n.min(GLANCE);
    let first = sum(session, tokens, 0..few).await?;
    if first > few as f32 * (session.vocab() as f32).ln() {
        return Ok(first / few as f32);
    }
    let rest = sum(session, tokens, few..n).await?;
    Ok((first + rest) / n as f32)
}

/// `Σ −ln p(tokens[i + 1])` over positions `i`, of which those before must have been read.
async fn sum(session: &mut Session, tokens: &[u32], positions: Range<usize>) -> Result<f32> {
    let seen = vec![0; session.vocab().div_ceil(32)];
    session.forget();
    let backend = session.backend();
    backend.begin(&Sampling::greedy(), &seen);
    let mut total = 0.0;
    for pos in positions {
        backend.prefill(pos, &tokens[pos..pos + 1], true)?;
        let logits = backend.logits().await?;
        backend.discard();
        total -= log_probability(&logits, tokens[pos + 1] as usize);
        crate::platform::yield_now().await;
    }
    Ok(total)
}

/// The tokens that [`search`] judges by.
pub fn sample(tokens: &[u32]) -> &[u32] {
    &tokens[..tokens.len().min(TOKENS)]
}

/// `ln softmax(logits)[token]`
fn log_probability(logits: &[f32], token: usize) -> f32 {
    let max = logits.iter().fold(f32::MIN, |m, l| m.max(*l));
    let sum: f32 = logits.iter().map(|l| (l - max).exp()).sum();
    logits[token] - max - sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SWITCHES: &[Switch] = &[
        Switch {
            key: "three",
            values: &["8", "7", "0"],
        },
        Switch {
            key: "a",
            values: &["true", "false"],
        },
        Switch {
            key: "b",
            values: &["true", "false"],
        },
        Switch {
            key: "c",
            values: &["true", "false"],
        },
    ];

    fn find(
        config: Value,
        nll: impl Fn(&Map<String, Value>) -> f32,
    ) -> (Result<Option<Found>>, usize) {
        let mut count = 0;
        let mut evaluate = async |settings: &Map<String, Value>| {
            count += 1;
            Ok(nll(settings))
        };
        let found = pollster::block_on(search(SWITCHES, &config, 1000, &mut evaluate));
        (found, count)
    }

    #[test]
    fn each_switch_is_turned_to_where_the_text_is_likeliest() {
        let nll = |s: &Map<String, Value>| {
            let right = [
                s["a"] == json!(false),
                s["b"] == json!(true),
                s["three"] == json!(7),
            ];
            6.0 - right.iter().filter(|r| **r).count() as f32
        };
        let (found, count) = find(json!({}), nll);
        let found = found.unwrap().unwrap();
        assert_eq!(found.nll, 3.0);
        assert_eq!(
            (&found.settings["a"], &found.settings["three"]),
            (&json!(false), &json!(7))
        );
        assert!(count <= 12, "{count} readings, none of them twice");
    }

    /// Only the right combination shows: one switch at a time leads nowhere.
    #[test]
    fn combinations_are_tried_before_giving_up() {
        let nll = |s: &Map<String, Value>| {
            let right = ["a", "b", "c"].iter().all(|key| s[*key] == json!(false));
            if right { 3.0 } else { 6.5 }
        };
        let (found, _) = find(json!({}), nll);
        assert_eq!(found.unwrap().unwrap().nll, 3.0);
    }

    /// Hardly better is not better, wherever the search came from.
    #[test]
    fn ties_go_to_the_likeliest() {
        let nll = |s: &Map<String, Value>| {
            let c = if s["c"] == json!(false) { 0.0 } else { 2.0 };
            // As long as `c` is wrong, `a` seems to matter.
            let a = if s["a"] == json!(true) { 0.01 + c } else { 0.0 };
            3.0 + a + c
        };
        let (found, _) = find(json!({}), nll);
        let found = found.unwrap().unwrap();
        assert_eq!(found.settings["a"], json!(true));
        assert_eq!(found.settings["c"], json!(false));
        assert_eq!(found.nll, nll(&found.settings));
    }

    #[test]
    fn what_the_config_says_is_not_asked() {
        let (found, _) = find(json!({"a": true, "b": false}), |s| {
            assert!(!s.contains_key("a") && !s.contains_key("b"));
            3.0
        });
        assert_eq!(found.unwrap().unwrap().settings.len(), 2);
        let all = json!({"a": true, "b": false, "c": true, "three": 0});
        let (found, count) = find(all, |_| 9.9);
        assert_eq!((found.unwrap(), count), (None, 0));
    }

    #[test]
    fn nothing_understood_is_an_error() {
        let (found, _) = find(json!({}), |_| 6.0);
        assert!(matches!(found, Err(Error::NotUnderstood { tried, .. }) if tried >= 8));
        let (found, _) = find(json!({}), |_| f32::NAN);
        assert!(matches!(found, Err(Error::NotUnderstood { .. })));
    }

    #[test]
    fn log_probabilities_are_those_of_a_softmax() {
        let p = log_probability(&[1.0, 2.0, 0.5], 1).exp();
        let e = |x: f32| x.exp();
        assert!((p - e(2.0) / (e(1.0) + e(2.0) + e(0.5))).abs() < 1e-6);
    }
}
