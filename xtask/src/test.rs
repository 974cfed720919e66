//! Runs the tests and counts them. A check such as rustfmt counts as one test.

use crate::count::{self, Counts};
use crate::setup::{self, Arm, Node, Wasm};
use crate::sh::{self, cmd};
use crate::{Result, model, site, sizes};
use std::cell::OnceCell;
use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// A part of the tests that can run alone, as `cargo xtask ci NAME`.
#[derive(Clone, Copy)]
pub struct Part {
    name: &'static str,
    what: &'static str,
    run: fn(&Shared) -> Result<Counts>,
}

const fn part(name: &'static str, what: &'static str, run: fn(&Shared) -> Result<Counts>) -> Part {
    Part { name, what, run }
}

/// Everything, in the order of `cargo xtask test`: what fails soon comes first.
pub const PARTS: [Part; 10] = [
    part("fmt", "every file is formatted", fmt),
    part(
        "clippy",
        "no warnings, for this machine, wasm32 and ARM",
        clippy,
    ),
    part("nextest", "native tests, with Vulkan", nextest),
    part("arm", "the CPU's kernels with ARM's instructions", arm),
    part(
        "train",
        "the trainer, and the engine on what it trained",
        train,
    ),
    part("doc", "examples in the documentation", doc),
    part("browser", "the engine's tests in Chromium", browser),
    part("dist", "the page builds", |shared| {
        shared.dist().map(|()| one(true))
    }),
    part("e2e", "the page in Chromium", e2e),
    part(
        "sizes",
        "what a visitor downloads has not grown",
        |shared| {
            shared.dist()?;
            sizes::check().map(|()| one(true))
        },
    ),
];

/// The parts with these names.
pub fn named(names: &[&str]) -> Result<Vec<Part>> {
    let find = |name: &&str| {
        PARTS
            .iter()
            .find(|p| p.name == *name)
            .copied()
            .ok_or_else(|| {
                let known: Vec<&str> = PARTS.iter().map(|p| p.name).collect();
                format!("no part `{name}`; the parts are: {}", known.join(" "))
            })
    };
    names.iter().map(find).collect()
}

/// What several parts need and the first of them makes.
#[derive(Default)]
struct Shared {
    wasm: OnceCell<Result<Wasm>>,
    dist: OnceCell<Result>,
}

impl Shared {
    fn wasm(&self) -> Result<&Wasm> {
        self.wasm
            .get_or_init(Wasm::ready)
            .as_ref()
            .map_err(Clone::clone)
    }

    fn dist(&self) -> Result {
        self.dist.get_or_init(site::make).clone()
    }
}

/// Runs the parts one after the other, failed or not, and ends with `N passed, N failed`.
pub fn run(parts: &[Part]) -> Result<ExitCode> {
    let shared = Shared::default();
    let mut total = Counts::default();
    let mut table = String::new();
    for part in parts {
        eprintln!("\n==== {}: {}", part.name, part.what);
        let start = Instant::now();
        let result = (part.run)(&shared);
        let counts = *result.as_ref().unwrap_or(&one(false));
        total += counts;
        table += &row(part.name, counts, start.elapsed());
        if let Err(message) = result {
            eprintln!("\nerror: {message}");
            // Once more where it is found when only the end of a long log is at hand.
            table += &format!("          {message}\n");
        }
    }
    println!(
        "\n{table}\n{} passed, {} failed",
        total.passed, total.failed
    );
    Ok(if total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn row(name: &str, counts: Counts, time: Duration) -> String {
    let Counts { passed, failed } = counts;
    let mark = if failed == 0 { "ok" } else { "FAILED" };
    format!(
        "{name:9} {mark:6} {passed:5} passed {failed:3} failed  {}\n",
        sh::seconds(time)
    )
}

/// The counts of a single check.
fn one(passed: bool) -> Counts {
    Counts {
        passed: usize::from(passed),
        failed: usize::from(!passed),
    }
}

/// Runs a command that is one check.
fn check(command: &mut Command) -> Counts {
    let result = sh::run(command).inspect_err(|e| eprintln!("error: {e}"));
    one(result.is_ok())
}

/// Runs a test program and counts its tests. One that fails without a failed test, or that ends
/// without a summary, is a failure itself.
fn counted(command: &mut Command, parse: fn(&str) -> Option<Counts>) -> Result<Counts> {
    if std::io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let (succeeded, output) = sh::run_and_read(command)?;
    let mut counts = parse(&output).unwrap_or(one(false));
    if !succeeded && counts.failed == 0 {
        counts.failed = 1;
    }
    Ok(counts)
}

/// A cargo command on the workspace's own code. The page is built for this machine too: its states and
/// messages are tested natively. Its worker reads the browser's files, so it is for wasm32 alone.
fn workspace(args: &[&str]) -> Command {
    let mut command = cmd("cargo", args);
    command.args(["--locked", "--workspace", "--exclude", "wasm-bindgen-tools"]);
    command.args(["--features", "web/app"]);
    command
}

fn fmt(_: &Shared) -> Result<Counts> {
    Ok(check(&mut cmd("cargo", &["fmt", "--all", "--check"])))
}

fn clippy(shared: &Shared) -> Result<Counts> {
    let deny = ["--", "-D", "warnings"];
    let mut counts = check(workspace(&["clippy", "--all-targets"]).args(deny));
    let engine = vec![
        "engine",
        "--no-default-features",
        "--lib",
        "--test",
        "browser",
    ];
    let kernels = vec!["kernels"];
    let app = vec!["web", "--features", "app", "--bin", "app"];
    let worker = vec!["web", "--features", "worker", "--bin", "worker"];
    let relaxed = vec!["web", "--features", "relaxed", "--bin", "worker-relaxed"];
    let tests = vec!["kernels", "--features", "relaxed-simd", "--tests"];
    let wasm = shared.wasm()?;
    for package in [kernels, tests, engine, app, worker, relaxed] {
        let base = [
            "clippy",
            "--locked",
            "--target",
            "wasm32-unknown-unknown",
            "--package",
        ];
        counts += check(wasm.cmd("cargo", &base)?.args(package).args(deny));
    }
    let mut arm = Arm::ready()?.cargo("clippy")?;
    counts += check(
        arm.args(["--package", "kernels", "--all-targets"])
            .args(deny),
    );
    Ok(counts)
}

fn nextest(_: &Shared) -> Result<Counts> {
    setup::nextest()?;
    setup::vulkan()?;
    model::fetch()?;
    let mut command = workspace(&["nextest", "run"]);
    command.args(["--no-fail-fast", "--no-tests=pass"]);
    setup::own_tools(&mut command)?;
    counted(with_runtime_dir(&mut command), count::nextest)
}

fn train(_: &Shared) -> Result<Counts> {
    setup::vulkan()?;
    let python = setup::trainer()?;
    sh::run(&mut cmd(
        "cargo",
        &[
            "build",
            "--locked",
            "--package",
            "engine",
            "--bin",
            "thimble",
        ],
    ))?;
    let mut pytest = cmd(python, &["-m", "pytest", "train/tests"]);
    pytest.env("THIMBLE", sh::built("thimble")?);
    counted(with_runtime_dir(&mut pytest), count::pytest)
}

fn doc(_: &Shared) -> Result<Counts> {
    setup::vulkan()?;
    counted(
        with_runtime_dir(&mut workspace(&["test", "--doc"])),
        count::libtest,
    )
}

/// Vulkan loaders complain where no one has logged in.
fn with_runtime_dir(command: &mut Command) -> &mut Command {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    }
    command
}

fn arm(_: &Shared) -> Result<Counts> {
    let mut command = Arm::ready()?.cargo("test")?;
    command.args(["--package", "kernels", "--lib"]);
    counted(&mut command, count::libtest)
}

fn browser(shared: &Shared) -> Result<Counts> {
    setup::chromium()?;
    let driver = setup::chromedriver()?;
    // Without --quiet: the runner does not know it.
    let args = [
        "test",
        "--locked",
        "--target",
        "wasm32-unknown-unknown",
        "--package",
        "engine",
        "--package",
        "kernels",
    ];
    let mut command = shared.wasm()?.cmd("cargo", &args)?;
    // In the libraries: what only a browser's instructions can show. Those that not every browser has as well: the page in
    // web/e2e is for any.
    command.args(["--no-default-features", "--features", "relaxed-simd"]);
    command.args(["--lib", "--test", "browser"]);
    // A software GPU is slow: 300 s instead of 20 for all tests of the file.
    command
        .env("CHROMEDRIVER", driver)
        .env("WASM_BINDGEN_TEST_TIMEOUT", "300")
        // Node.js may lack what Chromium has.
        .env("WASM_BINDGEN_USE_BROWSER", "1");
    counted(&mut command, count::libtest)
}

fn e2e(shared: &Shared) -> Result<Counts> {
    let tests: Vec<_> = sh::files("web/e2e")
        .into_iter()
        .filter(|f| f.parent() == Some(Path::new("web/e2e")))
        .filter(|f| f.to_string_lossy().ends_with(".test.mjs"))
        .collect();
    shared.dist()?;
    // One browser at a time: the tests measure speed and a software GPU takes every core.
    let mut node = Node::ready()?.cmd(&["--test", "--test-concurrency=1"])?;
    node.args(["--test-reporter=spec", "--test-timeout=900000"])
        .args(tests);
    node.env("THIMBLE_CHROMIUM", setup::chromium()?);
    counted(&mut node, count::node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_name() {
        let names: Vec<_> = named(&["e2e", "fmt"])
            .unwrap()
            .iter()
            .map(|p| p.name)
            .collect();
        assert_eq!(names, ["e2e", "fmt"]);
        assert!(
            named(&["fmt", "lint"])
                .err()
                .unwrap()
                .contains("no part `lint`")
        );
    }

    #[test]
    fn a_crash_without_a_count_is_a_failure() {
        let run = |script| counted(&mut cmd("sh", &["-c", script]), count::libtest).unwrap();
        assert_eq!(
            run("echo crash; exit 3"),
            Counts {
                passed: 0,
                failed: 1
            }
        );
        assert_eq!(
            run("echo no tests at all"),
            Counts {
                passed: 0,
                failed: 1
            }
        );
        let result = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored'";
        assert_eq!(
            run(result),
            Counts {
                passed: 2,
                failed: 0
            }
        );
        assert_eq!(
            run(&format!("{result}; exit 1")),
            Counts {
                passed: 2,
                failed: 1
            }
        );
    }
}
