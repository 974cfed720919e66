//! How fast SmolLM2 is, natively and in Chromium; `peer` compares with other engines.

mod peer;

use crate::setup::{self, Node};
use crate::sh::{self, cmd, step};
use crate::{Result, model, site};
use serde_json::{Value, json};
use std::process::Command;

/// What `bench` was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    /// Where the figures go as JSON.
    json: Option<&'a str>,
    /// The engine to compare with, instead of measuring Thimble alone.
    peer: Option<peer::Peer>,
    /// Rounds of a comparison.
    rounds: usize,
}

impl<'a> Asked<'a> {
    fn parse(args: &[&'a str]) -> Result<Self> {
        let mut asked = Self {
            json: None,
            peer: None,
            rounds: 5,
        };
        for pair in args.chunks(2) {
            match *pair {
                ["--json", file] => asked.json = Some(file),
                ["--peer", name] => asked.peer = Some(peer::Peer::named(name)?),
                ["--rounds", n] => {
                    let rounds = n.parse().ok().filter(|&n| n > 0);
                    asked.rounds = rounds.ok_or_else(|| {
                        format!("--rounds expects a whole number over 0, got `{n}`")
                    })?;
                }
                _ => {
                    return Err(format!(
                        "`bench` knows --json FILE, --peer wllama|llama-cpp and --rounds N, got `{}`",
                        args.join(" ")
                    ));
                }
            }
        }
        Ok(asked)
    }
}

/// `cargo xtask bench [--json FILE] [--peer NAME] [--rounds N]`.
pub fn run(args: &[&str]) -> Result {
    let asked = Asked::parse(args)?;
    model::fetch()?;
    let (text, figures) = match asked.peer {
        None => {
            let runs = runs()?;
            (table(&runs), json!({ "runs": runs }))
        }
        Some(peer) => peer::compare(peer, asked.rounds)?,
    };
    println!("\n{text}");
    match asked.json {
        Some(file) => sh::write(file, format!("{figures:#}\n")),
        None => Ok(()),
    }
}

/// `{name, report}` of the terminal program and of the page, on every backend.
fn runs() -> Result<Vec<Value>> {
    setup::vulkan()?;
    thimble_built()?;
    let mut runs = Vec::new();
    let native = [
        ("native, 1 thread", "cpu", "1"),
        ("native, 2 threads", "cpu", "2"),
        ("native GPU", "gpu", "1"),
    ];
    for (name, backend, threads) in native {
        let model = model::Fetched::from_catalog()?.cached();
        let report = step(&format!("measuring: {name}"), || {
            let mut thimble = thimble(&[
                "bench",
                "--json",
                "--backend",
                backend,
                "--threads",
                threads,
            ]);
            parsed(&sh::stdout(thimble.arg(&model))?)
        })?;
        runs.push(json!({ "name": name, "report": report }));
    }
    site::make()?;
    step("measuring: the page in Chromium", || {
        let mut node = Node::ready()?.cmd(&["tools/bench/page.mjs"])?;
        let lines = sh::stdout(node.env("THIMBLE_CHROMIUM", setup::chromium()?))?;
        for line in lines.lines() {
            runs.push(parsed(line)?);
        }
        Ok(())
    })?;
    Ok(runs)
}

/// Builds the terminal program, so that nothing is compiled while something is measured.
fn thimble_built() -> Result {
    step("cargo build --release: thimble", || {
        sh::run(&mut cargo("build", &["--bin", "thimble"]))
    })
}

/// A run of the terminal program.
fn thimble(args: &[&str]) -> Command {
    let mut command = cargo("run", &["--quiet", "--bin", "thimble", "--"]);
    command.args(args);
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // Vulkan loaders complain where no one has logged in.
        command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    }
    command
}

fn cargo(verb: &str, args: &[&str]) -> Command {
    let mut command = cmd(
        "cargo",
        &[verb, "--locked", "--release", "--package", "engine"],
    );
    command.args(args);
    command
}

fn parsed(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|e| format!("the figures are unreadable: {e}: {text}"))
}

/// The figures of all runs side by side; ops in microseconds.
fn table(runs: &[Value]) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut add = |name: String, cells: Vec<Option<f64>>| {
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|c| c.map_or("–".into(), figure));
            rows.push(std::iter::once(name).chain(cells).collect());
        }
    };
    let number =
        |of: fn(&Value) -> Option<f64>| runs.iter().map(|run| of(&run["report"])).collect();
    add(
        "memory, GB/s".into(),
        number(|r| r["bandwidth_gb_s"].as_f64()),
    );
    add(
        "weights read per token, MB".into(),
        number(|r| Some(r["bytes_per_token"].as_f64()? / 1e6)),
    );
    add(
        "dispatches per token".into(),
        number(|r| r["dispatches_per_token"].as_f64()),
    );
    for (list, what) in [("prefill", "prompt of"), ("decode", "answer at")] {
        for key in keys(runs, list, &["tokens"]) {
            let name = format!("{what} {} tokens, tokens/s", key[0]);
            add(
                name,
                cells(runs, list, &["tokens"], &key, "tokens_per_second"),
            );
        }
    }
    for key in keys(runs, "ops", &["op", "tokens"]) {
        let op = key[0].as_str().unwrap_or_default();
        let name = format!("{op}, n = {}, µs", key[1]);
        add(
            name,
            cells(runs, "ops", &["op", "tokens"], &key, "microseconds"),
        );
    }
    let names = runs
        .iter()
        .map(|run| run["name"].as_str().unwrap_or_default().to_owned());
    let head = std::iter::once(String::new()).chain(names).collect();
    let mut text = columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
    for run in runs {
        text += &format!(
            "\n{}: {}\n",
            text_of(&run["name"]),
            text_of(&run["report"]["backend"])
        );
        for line in run["report"]["left_out"].as_array().into_iter().flatten() {
            text += &format!("  left out: {}\n", text_of(line));
        }
    }
    text
}

fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What tells the entries of a list apart, in the order in which runs first have them.
fn keys(runs: &[Value], list: &str, names: &[&str]) -> Vec<Vec<Value>> {
    let mut keys: Vec<Vec<Value>> = Vec::new();
    for entry in runs.iter().flat_map(|run| entries(run, list)) {
        let key = names.iter().map(|name| entry[name].clone()).collect();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// A figure of the entry with this key, of each run.
fn cells(
    runs: &[Value],
    list: &str,
    names: &[&str],
    key: &[Value],
    figure: &str,
) -> Vec<Option<f64>> {
    let is = |entry: &&Value| {
        names
            .iter()
            .zip(key)
            .all(|(name, value)| entry[name] == *value)
    };
    let cell = |run| entries(run, list).iter().find(is)?[figure].as_f64();
    runs.iter().map(cell).collect()
}

fn entries<'a>(run: &'a Value, list: &str) -> &'a [Value] {
    run["report"][list].as_array().map_or(&[], Vec::as_slice)
}

/// Three digits that count.
fn figure(x: f64) -> String {
    match x {
        x if x.fract() == 0.0 || x >= 99.95 => format!("{x:.0}"),
        x if x < 9.995 => format!("{x:.2}"),
        x => format!("{x:.1}"),
    }
}

/// Lines of cells side by side: the first to the left, the others to the right.
fn columns(lines: &[Vec<String>]) -> String {
    let n = lines.first().map_or(0, Vec::len);
    let width = |i: usize| lines.iter().map(|line| line[i].chars().count()).max();
    let widths: Vec<usize> = (0..n).filter_map(width).collect();
    let mut text = String::new();
    for line in lines {
        text += &format!("{:<1$}", line[0], widths[0]);
        for (cell, width) in line.iter().zip(&widths).skip(1) {
            text += &format!("  {cell:>width$}");
        }
        text = text.trim_end().to_owned() + "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let asked = Asked::parse(&["--peer", "wllama", "--rounds", "7", "--json", "a.json"]);
        let expected = Asked {
            json: Some("a.json"),
            peer: Some(peer::Peer::Wllama),
            rounds: 7,
        };
        assert_eq!(asked.unwrap(), expected);
        for (args, part) in [
            (["--rounds", "0"], "over 0"),
            (["--peer", "gpt"], "no peer `gpt`"),
            (["--fast", "1"], "--fast 1"),
        ] {
            let error = Asked::parse(&args).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(Asked::parse(&["--json"]).is_err());
    }

    #[test]
    fn runs_stand_side_by_side() {
        let op = |us: f64| json!([{"op": "rope 64", "tokens": 1, "microseconds": us}]);
        let a = json!({"backend": "CPU", "bandwidth_gb_s": 12.34, "ops": op(1.5), "left_out": ["x: y"],
            "decode": [{"tokens": 16, "tokens_per_second": 123.4}]});
        let b = json!({"backend": "GPU", "dispatches_per_token": 9, "ops": op(20.0)});
        let runs = [
            json!({"name": "a", "report": a}),
            json!({"name": "b", "report": b}),
        ];
        let expected = [
            "                                  a   b",
            "memory, GB/s                   12.3   –",
            "dispatches per token              –   9",
            "answer at 16 tokens, tokens/s   123   –",
            "rope 64, n = 1, µs             1.50  20",
            "",
            "a: CPU",
            "  left out: x: y",
            "",
            "b: GPU",
            "",
        ];
        assert_eq!(table(&runs), expected.join("\n"));
    }
}
