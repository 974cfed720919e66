//! Names that change with a build, for what browsers keep.
//!
//! A browser may hold old worker files in its cache, so a new page must ask for them by a new URL.
//! The contract: index.html has `<meta name="thimble-build" content="dev">`; here the content
//! becomes a hash of the workers' files; the app starts one of them from
//! `./NAME_loader.js?v=CONTENT`; every file that the worker imports gets the same query here.
//!
//! The service worker keeps a whole build (web/assets/service-worker.js): its lines `const BUILD = 'dev';` and
//! `const FILES = ['./'];` become a hash of all files and their list, each by the address that the page asks for it by.
//! index.html and the catalog, whose addresses stay, are fetched for keeping by new ones.

use crate::Result;
use crate::sh;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

const SERVICE_WORKER: &str = "service-worker.js";
/// index.html chooses.
const WORKERS: [&str; 2] = ["worker", "worker-relaxed"];

/// Writes the version of the worker's files into them and into the page.
pub fn worker(site: &Path) -> Result {
    let mut hasher = Sha256::new();
    for file in sh::files(site) {
        let name = file.strip_prefix(site).unwrap_or(&file).to_string_lossy();
        if is_of_worker(&name) {
            hasher.update(fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?);
        }
    }
    let hash = format!("{:x}", hasher.finalize());
    let version = &hash[..12];
    for name in WORKERS {
        edit(&site.join(format!("{name}_loader.js")), |text| {
            version_file(text, &format!("./{name}.js"), version)
        })?;
        edit(&site.join(format!("{name}.js")), |text| {
            let text = version_snippets(text, version);
            version_file(&text, &format!("{name}_bg.wasm"), version)
        })?;
    }
    edit(&site.join("index.html"), |text| version_page(text, version))
}

/// The worker's files have no hash in their names.
fn is_of_worker(name: &str) -> bool {
    name.starts_with("worker") || name.starts_with("snippets")
}

/// Replaces a file's text; `change` returns `None` for a text that it does not know.
fn edit(path: &Path, change: impl Fn(&str) -> Option<String>) -> Result {
    let new = change(&sh::read(path)?).ok_or_else(|| {
        format!(
            "{} is not as expected; the contract is in xtask/src/site/version.rs",
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

const TAG: &str = "<meta name=\"thimble-build\" content=\"";

/// Sets the content of `<meta name="thimble-build" content="…">`.
fn version_page(html: &str, version: &str) -> Option<String> {
    let (before, rest) = html.split_once(TAG)?;
    let (_, after) = rest.split_once('"')?;
    Some(format!("{before}{TAG}{version}\"{after}"))
}

/// The content of `<meta name="thimble-build" content="…">`.
fn page_version(html: &str) -> Option<&str> {
    let (_, rest) = html.split_once(TAG)?;
    Some(rest.split_once('"')?.0)
}

/// Writes the list of the finished page's files, and a name for it, into its service worker.
pub fn service_worker(site: &Path) -> Result {
    let html = sh::read(site.join("index.html"))?;
    let worker = page_version(&html).ok_or("index.html has no version")?;
    let mut hasher = Sha256::new();
    let mut names = Vec::new();
    for file in sh::files(site) {
        let name = file.strip_prefix(site).unwrap_or(&file).to_string_lossy();
        let bytes = fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        hasher.update(format!("{name} {}\n", bytes.len()));
        hasher.update(bytes);
        if name != SERVICE_WORKER {
            names.push(name.into_owned());
        }
    }
    let build = &format!("{:x}", hasher.finalize())[..12];
    let addresses = addresses(&names, worker, build);
    edit(&site.join(SERVICE_WORKER), |text| {
        fill_in(text, build, &addresses)
    })
}

/// The addresses that the files of the page are asked for by.
fn addresses(names: &[String], worker: &str, build: &str) -> Vec<String> {
    let address = |name: &String| match name.as_str() {
        name if is_of_worker(name) => format!("{name}?v={worker}"),
        // Those that Trunk names have a hash in their names.
        name if name.ends_with(".html") || name.starts_with("models/") => {
            format!("{name}?v={build}")
        }
        name => name.to_owned(),
    };
    let page = format!("./?v={build}");
    std::iter::once(page)
        .chain(names.iter().map(address))
        .collect()
}

/// Replaces the two lines of the service worker.
fn fill_in(script: &str, build: &str, addresses: &[String]) -> Option<String> {
    let mut new = script.to_owned();
    let list = format!("const FILES = {};", serde_json::json!(addresses));
    let build = format!("const BUILD = '{build}';");
    for (old, line) in [
        ("const BUILD = 'dev';", build),
        ("const FILES = ['./'];", list),
    ] {
        if new.matches(old).count() != 1 {
            return None;
        }
        new = new.replace(old, &line);
    }
    Some(new)
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
        assert_eq!(page_version(expected), Some("abc"));
        assert_eq!(version_page("<head></head>", "abc"), None);
    }

    #[test]
    fn the_service_worker_knows_every_file_by_its_address() {
        let names = [
            "app-1f.js",
            "index.html",
            "models/catalog.json",
            "snippets/a.js",
            "worker.js",
        ];
        let list = addresses(&names.map(String::from), "abc", "def");
        let expected = [
            "./?v=def",
            "app-1f.js",
            "index.html?v=def",
            "models/catalog.json?v=def",
            "snippets/a.js?v=abc",
            "worker.js?v=abc",
        ];
        assert_eq!(list, expected);
        let script = include_str!("../../../web/assets/service-worker.js");
        let filled = fill_in(script, "def", &list[..2]).unwrap();
        assert!(
            filled.contains("const BUILD = 'def';\nconst FILES = [\"./?v=def\",\"app-1f.js\"];\n")
        );
        assert_eq!(fill_in(&filled, "def", &list), None);
    }
}
