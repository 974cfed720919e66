//! Thimble beside another engine: the same file and prompt, in turn, A B A B …

use super::{columns, figure, parsed, text_of, thimble, thimble_built};
use crate::setup::{self, Node};
use crate::sh::{self, cmd, step};
use crate::{Result, model, site};
use serde_json::{Value, json};

/// An engine to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// llama.cpp in a browser tab: wllama of tools/bench/package.json, beside Thimble's page on the CPU.
    Wllama,
    /// llama.cpp natively, by its Python package, beside `thimble` on the CPU.
    LlamaCpp,
}

/// Builds from source, for some minutes, the first time.
const LLAMA_CPP: &str = "0.3.36";
/// Tokens of each answer.
const NEW_TOKENS: usize = 64;
const THREADS: [usize; 2] = [1, 2];
const PROMPT: &str = "tools/bench/prompt.txt";

impl Peer {
    /// By its name on the command line.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "wllama" => Ok(Self::Wllama),
            "llama-cpp" => Ok(Self::LlamaCpp),
            other => Err(format!(
                "there is no peer `{other}`; the peers are: wllama llama-cpp"
            )),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Wllama => "wllama",
            Self::LlamaCpp => "llama.cpp",
        }
    }
}

/// The answers of both engines to the same prompt.
struct Pair {
    threads: usize,
    thimble: Answer,
    peer: Answer,
}

/// An answer, and how long it took.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    n_prompt: f64,
    n_new: f64,
    /// Tokens of the prompt by the time to the first new token.
    prefill: f64,
    /// New tokens after the first, by the time from it to the last.
    decode: f64,
    text: String,
}

impl Answer {
    /// From `{n_prompt, n_new, first_ms, decode_ms, text}`.
    fn from_json(json: &Value) -> Result<Self> {
        let number = |key: &str| {
            let value = json[key].as_f64().filter(|x| *x > 0.0);
            value.ok_or_else(|| format!("an answer has no `{key}`: {json}"))
        };
        let (n_prompt, n_new) = (number("n_prompt")?, number("n_new")?);
        Ok(Self {
            n_prompt,
            n_new,
            prefill: n_prompt * 1e3 / number("first_ms")?,
            decode: (n_new - 1.0) * 1e3 / number("decode_ms")?,
            text: text_of(&json["text"]).to_owned(),
        })
    }

    /// From what `thimble run` says: the text, and `[prompt 9 tokens, 0 reused, 1.0 tokens/s · first token after … ·
    /// 64 tokens, 1.0 tokens/s · CPU]` under it, which counts as we do.
    fn from_terminal(text: &str, notes: &str) -> Result<Self> {
        let read = || {
            let figures = notes
                .lines()
                .rev()
                .find_map(|line| line.strip_prefix("[prompt "))?;
            let mut parts = figures.split(" · ");
            let numbers = |part: &str| -> Option<(f64, f64)> {
                let (n, _) = part.split_once(' ')?;
                let (_, rate) = part.rsplit_once(", ")?;
                let rate = rate.strip_suffix(" tokens/s")?;
                Some((n.parse().ok()?, rate.parse().ok()?))
            };
            let (n_prompt, prefill) = numbers(parts.next()?)?;
            let (n_new, decode) = numbers(parts.nth(1)?)?;
            Some(Self {
                n_prompt,
                n_new,
                prefill,
                decode,
                text: text.to_owned(),
            })
        };
        read().ok_or_else(|| format!("`thimble run` told no figures: {notes}"))
    }
}

/// Runs both in turn; the table, and all figures as JSON.
pub fn compare(peer: Peer, rounds: usize) -> Result<(String, Value)> {
    let pairs = match peer {
        Peer::Wllama => wllama(rounds)?,
        Peer::LlamaCpp => llama_cpp(rounds)?,
    };
    for Pair { thimble, peer, .. } in &pairs {
        if (thimble.n_prompt, thimble.n_new) != (peer.n_prompt, peer.n_new) {
            return Err(format!(
                "the two did not do the same work: prompts of {} and {} tokens, answers of {} and {}",
                thimble.n_prompt, peer.n_prompt, thimble.n_new, peer.n_new
            ));
        }
    }
    let figures = |answer: &Answer| json!({ "prefill": answer.prefill, "decode": answer.decode });
    let list = pairs.iter().map(|pair| {
        json!({
            "threads": pair.threads,
            "thimble": figures(&pair.thimble),
            "peer": figures(&pair.peer),
        })
    });
    let json = json!({ "peer": peer.name(), "pairs": list.collect::<Vec<_>>() });
    Ok((table(peer, &pairs), json))
}

fn wllama(rounds: usize) -> Result<Vec<Pair>> {
    site::make()?;
    let node = Node::ready()?;
    setup::bench_packages()?;
    step("measuring: Thimble's page and wllama's in turn", || {
        let mut run = node.cmd(&["tools/bench/wllama.mjs"])?;
        run.args([rounds, NEW_TOKENS].map(|n| n.to_string()));
        run.args(THREADS.map(|n| n.to_string()));
        let lines = sh::stdout(run.env("THIMBLE_CHROMIUM", setup::chromium()?))?;
        let lines: Vec<Value> = lines.lines().map(parsed).collect::<Result<_>>()?;
        let pair = |pair: &[Value]| {
            let [thimble, peer] = pair else {
                return Err("an answer is missing".to_owned());
            };
            Ok(Pair {
                threads: thimble["threads"].as_u64().unwrap_or_default() as usize,
                thimble: Answer::from_json(thimble)?,
                peer: Answer::from_json(peer)?,
            })
        };
        lines.chunks(2).map(pair).collect()
    })
}

fn llama_cpp(rounds: usize) -> Result<Vec<Pair>> {
    thimble_built()?;
    let python = setup::llama_cpp(LLAMA_CPP)?;
    let model = model::Fetched::from_catalog()?.cached();
    let prompt = sh::read(PROMPT)?;
    let n = NEW_TOKENS.to_string();
    let ours = |threads: usize| {
        let greedy = [
            "--temperature",
            "0",
            "--repetition-penalty",
            "1",
            "--max-tokens",
            &n,
        ];
        let mut run = thimble(&["run", "--raw", "--backend", "cpu"]);
        run.args(["--threads", &threads.to_string()]);
        run.args(greedy).arg("--prompt").arg(prompt.trim());
        let (text, notes) = sh::both(run.arg(&model))?;
        Answer::from_terminal(&text, &notes)
    };
    let theirs = |threads: usize| {
        let mut run = cmd(&python, &["tools/bench/by_llama_cpp.py"]);
        run.arg(&model).args([PROMPT, &n, &threads.to_string()]);
        Answer::from_json(&parsed(&sh::stdout(&mut run)?)?)
    };
    step("measuring: thimble and llama.cpp in turn", || {
        let mut pairs = Vec::new();
        for _ in 0..rounds {
            for threads in THREADS {
                pairs.push(Pair {
                    threads,
                    thimble: ours(threads)?,
                    peer: theirs(threads)?,
                });
            }
        }
        Ok(pairs)
    })
}

/// Of each count of threads: both speeds and their ratio, pair by pair, as minimum, median and maximum.
fn table(peer: Peer, pairs: &[Pair]) -> String {
    let head = ["", "", "min", "median", "max"].map(String::from).to_vec();
    let mut lines = vec![head];
    for threads in THREADS {
        let of: Vec<&Pair> = pairs
            .iter()
            .filter(|pair| pair.threads == threads)
            .collect();
        let prefill: fn(&Answer) -> f64 = |answer| answer.prefill;
        let phases = [("prompt", prefill), ("answer", |answer| answer.decode)];
        for (phase, speed) in phases {
            let mut add = |what: String, value: &dyn Fn(&Pair) -> f64| {
                let spread = spread(of.iter().map(|pair| value(pair)).collect());
                let cells = spread.into_iter().flatten().map(figure);
                let name = match threads {
                    1 => format!("{phase}, 1 thread"),
                    n => format!("{phase}, {n} threads"),
                };
                lines.push([name, what].into_iter().chain(cells).collect());
            };
            add("thimble, tokens/s".into(), &|pair| speed(&pair.thimble));
            add(format!("{}, tokens/s", peer.name()), &|pair| {
                speed(&pair.peer)
            });
            add("ratio".into(), &|pair| {
                speed(&pair.thimble) / speed(&pair.peer)
            });
        }
    }
    let mut text = columns(&lines);
    if let Some(Pair {
        thimble,
        peer: theirs,
        ..
    }) = pairs.first()
    {
        let begin = |answer: &Answer| answer.text.chars().take(120).collect::<String>();
        text += &format!(
            "\nRounds: {}; a prompt of {} tokens, {} new ones.\nthimble: {:?}\n{}: {:?}\n",
            pairs.len() / THREADS.len(),
            thimble.n_prompt,
            thimble.n_new,
            begin(thimble),
            peer.name(),
            begin(theirs),
        );
    }
    text
}

/// Minimum, median, maximum.
fn spread(mut values: Vec<f64>) -> Option<[f64; 3]> {
    values.sort_by(f64::total_cmp);
    let (first, last) = (*values.first()?, *values.last()?);
    let middle = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
    Some([first, middle, last])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_counted_alike() {
        let json = json!({"n_prompt": 100, "n_new": 65, "first_ms": 500.0, "decode_ms": 2000.0, "text": "Once"});
        let answer = Answer::from_json(&json).unwrap();
        assert_eq!((answer.prefill, answer.decode), (200.0, 32.0));
        let notes = "A · 1.0 M parameters\n[prompt 100 tokens, 0 reused, 200.0 tokens/s · first token after 0.50 s · 65 tokens, 32.0 tokens/s · CPU]\n";
        assert_eq!(Answer::from_terminal("Once", notes).unwrap(), answer);
        assert!(Answer::from_terminal("Once", "[prompt]").is_err());
        assert!(Answer::from_json(&json!({"n_prompt": 1})).is_err());
    }

    #[test]
    fn the_middle_is_the_median() {
        assert_eq!(spread(vec![5.0, 1.0, 2.0]), Some([1.0, 2.0, 5.0]));
        assert_eq!(spread(vec![4.0, 1.0]), Some([1.0, 2.5, 4.0]));
        assert_eq!(spread(vec![]), None);
    }
}
