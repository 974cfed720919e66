//! Thimble's tasks, run as `cargo xtask <task>`.
//!
//! Each task installs what it needs first, so a fresh clone needs no other command. Files:
//! `site` builds, serves and packs the page; `test` runs and counts every test; `model` fetches
//! SmolLM2, `synth` makes random ones; `bench` measures and compares; `setup` and `debian` install the tools; `sizes` measures the page;
//! `count` reads test summaries; `sh` runs commands.

mod bench;
mod count;
mod debian;
mod model;
mod setup;
mod sh;
mod site;
mod sizes;
mod synth;
mod test;

use std::process::ExitCode;

/// What a task returns: nothing, or a sentence for the terminal.
type Result<T = ()> = std::result::Result<T, String>;

const HELP: &str = "\
usage: cargo xtask <task>

  serve [--port N]   build the page with its models and serve it on 127.0.0.1 (default port 8080)
  test               run every test, native and in the browser; ends with `N passed, N failed`
  dist               write the page as a static folder, dist/, for any web server and any sub-path
  ci <part>...       run parts of `test` alone: fmt clippy nextest arm train doc browser dist e2e sizes
  model              fetch SmolLM2 into models/cache/
  synth <family>     write a random checkpoint of a published model's size into models/cache/:
                     ssmoelm (12 MB), metis (1.8 GB), neo-3 (2.3 GB), mtlm1 (0.8 GB)
  bench [--json F]   measure SmolLM2 natively and in Chromium, and print one table
        --peer wllama|llama-cpp [--rounds N]
                     compare with another engine instead, in turn
  sizes              print the raw, gzip and brotli size of each wasm and JavaScript file in dist/
  setup              install everything that the other tasks need
  help               print this

environment:
  THIMBLE_STD=rustup|debian   take other targets' standard libraries from there and nowhere else
  THIMBLE_CHROMIUM, CHROMEDRIVER   the browser and its driver, where they are not on PATH";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // Every path below is relative to the repository.
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    if let Err(e) = std::env::set_current_dir(root) {
        eprintln!("error: cannot enter the repository at {root}: {e}");
        return ExitCode::FAILURE;
    }
    match run(&args) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("\nerror: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<ExitCode> {
    match args {
        ["serve"] => site::serve(8080)?,
        ["serve", "--port", port] => site::serve(
            port.parse()
                .map_err(|_| format!("--port expects a number from 0 to 65535, got `{port}`"))?,
        )?,
        ["test"] => return test::run(&test::PARTS),
        ["ci", parts @ ..] if !parts.is_empty() => return test::run(&test::named(parts)?),
        ["dist"] => site::dist()?,
        ["model"] => model::fetch()?,
        ["synth", family] => synth::write(family)?,
        ["bench", args @ ..] => bench::run(args)?,
        ["sizes"] => sizes::print()?,
        ["setup"] => setup::everything()?,
        [] | ["help" | "--help" | "-h"] => println!("{HELP}"),
        other => return Err(format!("unknown task `{}`\n\n{HELP}", other.join(" "))),
    }
    Ok(ExitCode::SUCCESS)
}
