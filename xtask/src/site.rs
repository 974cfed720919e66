//! The page: built by Trunk, put together in `dist/`, served.
//!
//! What we rely on in Trunk 0.21:
//! - it takes any `wasm-bindgen` on `PATH` of Cargo.lock's version, and any `wasm-opt`: no downloads;
//! - it runs the `cargo` on `PATH` and obeys `CARGO_TARGET_DIR`;
//! - the app's files have a hash in their names and an `integrity` in index.html, so they must stay
//!   as they are; the workers' files have neither (`worker_loader.js`, `worker.js`,
//!   `worker_bg.wasm`, the same of `worker-relaxed`, `snippets/`);
//! - it replaces its whole output folder, so that is `target/site` (Trunk.toml) and not `dist`,
//!   where the model lies.

mod version;

use crate::model::{self, Offered};
use crate::setup::{self, Node, Wasm};
use crate::sh::{self, step};
use crate::{Result, sizes};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

/// Trunk's output.
const TRUNK_DIST: &str = "target/site";
/// The finished static page.
pub const DIST: &str = "dist";
/// What the page is made of: `serve` builds again when one of these changes.
const SOURCES: [&str; 17] = [
    "index.html",
    "Cargo.lock",
    "Cargo.toml",
    "Trunk.toml",
    "engine/Cargo.toml",
    "engine/src",
    "hub/Cargo.toml",
    "hub/src",
    "kernels/Cargo.toml",
    "kernels/src",
    "models/catalog.json",
    "models/thimble",
    "shaders",
    "web/Cargo.toml",
    "web/assets",
    "web/src",
    "web/style.css",
];

/// Builds the page into `dist/` with every model of the catalog, for any static host and any sub-path.
pub fn make() -> Result {
    let wasm = Wasm::ready()?;
    setup::trunk()?;
    model::fetch()?;
    build(&wasm)
}

/// Builds the page and prints its sizes.
pub fn dist() -> Result {
    make()?;
    sizes::print()?;
    let total: u64 = sh::files(DIST)
        .iter()
        .filter_map(|f| Some(f.metadata().ok()?.len()))
        .sum();
    println!(
        "\n{DIST}/ is ready: {:.1} MB with the models",
        total as f64 / 1e6
    );
    Ok(())
}

/// Builds the page and serves it until Ctrl-C; builds again after an edit.
///
/// Not `trunk serve`: it answers a missing file with the page instead of 404, drops the model at
/// every build, and would serve a worker without its version.
pub fn serve(port: u16) -> Result {
    // Better now than after minutes of compiling.
    TcpListener::bind(("127.0.0.1", port))
        .map_err(|e| format!("cannot serve on port {port}: {e}; choose another with --port N"))?;
    let wasm = Wasm::ready()?;
    setup::trunk()?;
    if let Err(e) = model::fetch() {
        eprintln!("\nwarning: {e}\nThe page offers its own model alone.");
    }
    let built = newest_change();
    build(&wasm)?;
    watch(web_server(port)?, built, || build(&wasm))
}

/// Starts web/e2e/server.mjs, which prints the URL. It ends when its standard input does, which
/// is when this process ends, in whatever way.
fn web_server(port: u16) -> Result<Child> {
    let mut node = Node::ready()?.cmd(&["web/e2e/server.mjs", DIST, &port.to_string()])?;
    node.stdin(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start the web server: {e}"))
}

/// The state of the sources: how many files, and the time of the latest change.
type Change = (usize, Option<SystemTime>);

/// Calls `build` after every change since `built`, for as long as the server runs.
fn watch(mut server: Child, mut built: Change, build: impl Fn() -> Result) -> Result {
    loop {
        thread::sleep(Duration::from_secs(1));
        if let Some(status) = server.try_wait().map_err(|e| e.to_string())? {
            return Err(format!("the web server ended with {status}"));
        }
        let now = newest_change();
        if now != built {
            built = now;
            match build() {
                Ok(()) => println!("\nReload the page to see the change."),
                Err(e) => eprintln!("\nerror: {e}\nThe page is still the old one."),
            }
        }
    }
}

fn newest_change() -> Change {
    let mut files: Vec<PathBuf> = SOURCES.iter().flat_map(sh::files).collect();
    files.extend(SOURCES.iter().map(PathBuf::from).filter(|p| p.is_file()));
    (
        files.len(),
        files
            .iter()
            .filter_map(|f| f.metadata().ok()?.modified().ok())
            .max(),
    )
}

fn build(wasm: &Wasm) -> Result {
    step("trunk build --release", || {
        let mut trunk = wasm.cmd("trunk", &["build", "--release"])?;
        // Trunk takes the usual `NO_COLOR=1` for a malformed option.
        sh::run(trunk.env_remove("NO_COLOR").stdin(Stdio::null()))?;
        version::worker(Path::new(TRUNK_DIST))?;
        assemble()
    })
}

/// Brings `dist/` up to date: Trunk's files, the catalog and the models.
fn assemble() -> Result {
    let copy = |from: &Path, to: &Path| {
        let dir = to.parent().unwrap_or(Path::new(DIST));
        fs::create_dir_all(dir)
            .and_then(|()| fs::copy(from, to))
            .map_err(|e| format!("cannot copy {} to {}: {e}", from.display(), to.display()))
    };
    let dist = Path::new(DIST);
    let Offered { catalog, files } = model::offered()?;
    sh::write(
        Path::new(TRUNK_DIST).join(model::CATALOG),
        format!("{catalog:#}\n"),
    )?;
    version::service_worker(Path::new(TRUNK_DIST))?;
    let mut wanted = Vec::new();
    for (from, place) in files {
        let to = dist.join(place);
        // Not a link: what happens to the page's copy must not happen to the downloaded file.
        if changed_since(&from, &to) {
            copy(&from, &to)?;
        }
        wanted.push(to);
    }
    for from in sh::files(TRUNK_DIST) {
        let to = dist.join(from.strip_prefix(TRUNK_DIST).unwrap_or(&from));
        copy(&from, &to)?;
        wanted.push(to);
    }
    for old in sh::files(dist).iter().filter(|f| !wanted.contains(f)) {
        fs::remove_file(old).map_err(|e| format!("cannot delete {}: {e}", old.display()))?;
    }
    Ok(())
}

/// Whether `copy` is missing, of another size or older than `original`.
fn changed_since(original: &Path, copy: &Path) -> bool {
    let facts = |path: &Path| {
        let meta = path.metadata().ok()?;
        Some((meta.len(), meta.modified().ok()?))
    };
    match (facts(original), facts(copy)) {
        (Some((size, time)), Some((copy_size, copy_time))) => size != copy_size || time > copy_time,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_renewed_when_it_differs() {
        let dir = std::env::temp_dir().join(format!("thimble-site-{}", std::process::id()));
        let (original, copy) = (dir.join("a"), dir.join("b"));
        sh::write(&original, "abc").unwrap();
        assert!(changed_since(&original, &copy));
        fs::copy(&original, &copy).unwrap();
        assert!(!changed_since(&original, &copy));
        sh::write(&copy, "ab").unwrap();
        assert!(changed_since(&original, &copy));
        fs::remove_dir_all(&dir).unwrap();
    }
}
