//! The house rules that a compiler does not check: who may import whom, and what must have a twin.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// `(files below engine/src or kernels/src, words that their code must not contain)`.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("op.rs", &["crate::"]),
    ("program.rs", &["crate::cpu", "crate::formats"]),
    ("sampler.rs", &["use crate::"]),
    ("formats", &["crate::cpu"]),
    (
        "weights",
        &["crate::gpu", "crate::cpu", "crate::model", "wgpu"],
    ),
    (
        "model",
        &[
            "crate::gpu",
            "crate::cpu",
            "crate::session",
            "crate::formats",
            "wgpu",
        ],
    ),
    ("gpu", &["crate::cpu", "crate::model", "crate::weights"]),
    (
        "session.rs",
        &[
            "crate::gpu",
            "crate::cpu",
            "crate::model",
            "wgpu",
            "web_sys",
        ],
    ),
    (
        "text",
        &[
            "crate::gpu",
            "crate::cpu",
            "crate::model",
            "wgpu",
            "web_sys",
        ],
    ),
];

#[test]
fn modules_import_only_what_they_may() {
    for (place, words) in FORBIDDEN {
        let files = source()
            .into_iter()
            .flat_map(|src| rust_files(&src.join(place)));
        let files: Vec<_> = files.collect();
        assert!(!files.is_empty(), "{place} is gone");
        for file in files {
            let code = code_of(&file);
            for word in *words {
                assert!(
                    !code.contains(word),
                    "{} must not say `{word}`",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn only_a_few_files_know_the_platform() {
    let may_use_browser = ["web.rs", "source.rs", "shared_array.rs"];
    let mut with_cfg = Vec::new();
    for file in source().iter().flat_map(|src| rust_files(src)) {
        let code = code_of(&file);
        let name = file.file_name().unwrap().to_str().unwrap().to_string();
        if code.contains("web_sys") || code.contains("js_sys") {
            assert!(
                may_use_browser.contains(&name.as_str()),
                "{} knows the browser",
                file.display()
            );
        }
        if code.contains("target_arch = \"wasm32\"") {
            with_cfg.push(name);
        }
    }
    assert!(with_cfg.len() <= 5, "cfg(wasm32) in {with_cfg:?}");
}

#[test]
fn the_page_does_not_know_the_engine() {
    let web = root("web/src");
    for file in rust_files(&web) {
        let code = code_of(&file);
        let is_worker = file.file_name().unwrap() == "worker.rs"
            || file.components().any(|c| c.as_os_str() == "worker");
        assert!(
            is_worker || !code.contains("engine::"),
            "{} knows the engine",
            file.display()
        );
        assert!(
            !is_worker || !code.contains("leptos"),
            "{} knows the page",
            file.display()
        );
    }
    for file in rust_files(&web.join("state.rs"))
        .into_iter()
        .chain(rust_files(&web.join("state")))
    {
        let code = code_of(&file);
        for word in ["leptos", "web_sys", "js_sys", "wasm_bindgen"] {
            assert!(
                !code.contains(word),
                "{} must not say `{word}`",
                file.display()
            );
        }
    }
}

/// Every op has a CPU file and every format a shader of the same stem.
#[test]
fn twins_are_there() {
    let ops = fs::read_to_string(root("kernels/src/op.rs")).unwrap();
    let vocabulary = ops
        .split("pub enum Op {")
        .nth(1)
        .unwrap()
        .split("\n}")
        .next()
        .unwrap();
    let variants: Vec<_> = vocabulary
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.strip_suffix(" {"))
        .collect();
    assert!(variants.len() >= 9, "{variants:?}");
    for variant in variants {
        let stem = snake_case(variant);
        assert!(
            root(&format!("kernels/src/cpu/{stem}.rs")).exists(),
            "{variant} has no CPU twin"
        );
    }
    for format in rust_files(&root("kernels/src/formats")) {
        let stem = format.file_stem().unwrap().to_str().unwrap();
        let shader = root(&format!("shaders/formats/{stem}.wgsl"));
        assert!(stem == "mod" || shader.exists(), "{stem} has no shader");
    }
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if c.is_uppercase() && i > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// Where the engine's code is, and that of its kernels, which know less: their Cargo.toml has neither GPU nor JSON.
fn source() -> [PathBuf; 2] {
    [root("engine/src"), root("kernels/src")]
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The file without comments and without its tests.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn rust_files(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_path_buf()];
    }
    let Ok(entries) = fs::read_dir(place) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                rust_files(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}
