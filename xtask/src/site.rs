//! The page: built by Trunk, put together in `dist/`, served.
//!
//! What we rely on in Trunk 0.21:
//! - it takes any `wasm-bindgen` on `PATH` of Cargo.lock's version, and any `wasm-opt`: no downloads;
//! - it runs the `cargo` on `PATH` and obeys `CARGO_TARGET_DIR`;
//! - the app's files have a hash in their names and an `integrity` in index.html, so they must stay
//!   as they are; the worker's files have neither (`worker_loader.js`, `worker.js`,
//!   `worker_bg.wasm`, `snippets/`);
//! - it replaces its whole output folder, so that is `target/site` (Trunk.toml) and not `dist`,
//!   where the model lies.
//!
//! A browser may hold old worker files in its cache, so a new page must ask for them by a new URL.
//! The contract: index.html has `<meta name="thimble-build" content="dev">`; here the content
//! becomes a hash of the worker's files; the app starts the worker from
//! `./worker_loader.js?v=CONTENT`; every file that the worker imports gets the same query here.

use crate::model::{self, Model};
use crate::setup::{self, Node, Wasm};
use crate::sh::{self, step};
use crate::{Result, sizes};
use sha2::{Digest, Sha256};
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
const SOURCES: [&str; 13] = [
    "index.html",
    "Cargo.lock",
    "Cargo.toml",
    "Trunk.toml",
    "engine/Cargo.toml",
    "engine/src",
    "hub/Cargo.toml",
    "hub/src",
    "shaders",
    "web/Cargo.toml",
    "web/assets",
    "web/src",
    "web/style.css",
];

/// Builds the page into `dist/` with the default model, for any static host and any sub-path.
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
        "\n{DIST}/ is ready: {:.1} MB with the model",
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
    model::fetch()?;
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
        version_worker(Path::new(TRUNK_DIST))?;
        assemble()
    })
}

/// Writes the build's version into the page and into the worker's files.
fn version_worker(site: &Path) -> Result {
    let mut hasher = Sha256::new();
    for file in sh::files(site) {
        let name = file.strip_prefix(site).unwrap_or(&file).to_string_lossy();
        if name.starts_with("worker") || name.starts_with("snippets") {
            hasher.update(fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?);
        }
    }
    let hash = format!("{:x}", hasher.finalize());
    let version = &hash[..12];
    edit(&site.join("worker_loader.js"), |text| {
        version_file(text, "./worker.js", version)
    })?;
    edit(&site.join("worker.js"), |text| {
        version_file(&version_snippets(text, version), "worker_bg.wasm", version)
    })?;
    edit(&site.join("index.html"), |text| version_page(text, version))
}

/// Replaces a file's text; `change` returns `None` for a text that it does not know.
fn edit(path: &Path, change: impl Fn(&str) -> Option<String>) -> Result {
    let new = change(&sh::read(path)?).ok_or_else(|| {
        format!(
            "{} is not as expected; the contract is in xtask/src/site.rs",
            path.display()
        )
    })?;
    sh::write(path, new)
}

/// Adds `?v=VERSION` to every quoted mention of `file`, of which there must be one at least.
fn version_file(script: &str, file: &str, version: &str) -> Option<String> {
    let mut new = script.to_owned();
    for quote in ['\'', '"'] {
        let old = format!("{quote}{file}{quote}");
        new = new.replace(&old, &format!("{quote}{file}?v={version}{quote}"));
    }
    (new != script).then_some(new)
}

/// Adds `?v=VERSION` to every import of `./snippets/….js`.
fn version_snippets(script: &str, version: &str) -> String {
    let lines = script.split_inclusive('\n').map(|line| {
        let import = line.starts_with("import ") && line.contains("./snippets/");
        match line.rfind(".js").filter(|_| import) {
            Some(end) => format!("{}?v={version}{}", &line[..end + 3], &line[end + 3..]),
            None => line.to_owned(),
        }
    });
    lines.collect()
}

/// Sets the content of `<meta name="thimble-build" content="…">`.
fn version_page(html: &str, version: &str) -> Option<String> {
    let tag = "<meta name=\"thimble-build\" content=\"";
    let (before, rest) = html.split_once(tag)?;
    let (_, after) = rest.split_once('"')?;
    Some(format!("{before}{tag}{version}\"{after}"))
}

/// Brings `dist/` up to date: Trunk's files, the catalog and the model.
fn assemble() -> Result {
    let copy = |from: &Path, to: &Path| {
        let dir = to.parent().unwrap_or(Path::new(DIST));
        fs::create_dir_all(dir)
            .and_then(|()| fs::copy(from, to))
            .map_err(|e| format!("cannot copy {} to {}: {e}", from.display(), to.display()))
    };
    let dist = Path::new(DIST);
    let model = Model::default_one()?;
    let mut wanted = vec![dist.join(model::CATALOG), dist.join(&model.url)];
    copy(Path::new(model::CATALOG), &wanted[0])?;
    // Not a link: what happens to the page's copy must not happen to the downloaded file.
    if changed_since(&model.cached(), &wanted[1]) {
        copy(&model.cached(), &wanted[1])?;
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
    fn the_worker_asks_for_files_of_its_own_version() {
        let shim = "import init from './worker.js';await init();";
        let versioned = "import init from './worker.js?v=abc';await init();";
        assert_eq!(
            version_file(shim, "./worker.js", "abc").as_deref(),
            Some(versioned)
        );
        assert_eq!(version_file(versioned, "./worker.js", "abc"), None);

        let script = "import { a } from './snippets/engine-1f/inline0.js';\nimport * as b from \"./snippets/x.js\"\nlet c = './snippets/d.js';\n";
        let expected = "import { a } from './snippets/engine-1f/inline0.js?v=abc';\nimport * as b from \"./snippets/x.js?v=abc\"\nlet c = './snippets/d.js';\n";
        assert_eq!(version_snippets(script, "abc"), expected);
    }

    #[test]
    fn the_page_carries_the_version() {
        let html = "<head><meta name=\"thimble-build\" content=\"dev\"></head>";
        let expected = "<head><meta name=\"thimble-build\" content=\"abc\"></head>";
        assert_eq!(version_page(html, "abc").as_deref(), Some(expected));
        assert_eq!(version_page("<head></head>", "abc"), None);
    }

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
