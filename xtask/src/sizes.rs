//! What a visitor downloads before the model.

use crate::Result;
use crate::setup::Node;
use crate::sh;
use crate::site::DIST;

/// Prints the table, and fails when a program has outgrown `xtask/sizes.json`.
pub fn check() -> Result {
    show(&["--check"])
}

/// Prints a table of every wasm and JavaScript file in `dist/`. Node.js compresses: it is there
/// for the build anyway, and a compressor in Rust would double the time that xtask takes to compile.
pub fn print() -> Result {
    show(&[])
}

fn show(options: &[&str]) -> Result {
    let wanted = ["wasm", "js"];
    let files: Vec<String> = sh::files(DIST)
        .iter()
        .filter(|f| {
            f.extension()
                .is_some_and(|e| wanted.iter().any(|w| e == *w))
        })
        .map(|f| f.to_string_lossy().into_owned())
        .collect();
    if files.is_empty() {
        return Err(format!(
            "{DIST}/ holds no page yet: run `cargo xtask dist` first"
        ));
    }
    sh::run(
        Node::ready()?
            .cmd(&["xtask/sizes.mjs"])?
            .args(options)
            .args(files),
    )
}
