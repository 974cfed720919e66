//! The models that tests run, and what tools/golden.py recorded of them.
#![allow(dead_code, reason = "each test binary uses its own part")]

use engine::{BackendChoice, Engine, LoadOptions, Source};
use safetensors::SafeTensors;
use std::{fs, ops::ControlFlow, path::PathBuf};

/// A path below the repository's root.
pub fn path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(relative)
}

/// Stems of the golden files of the tiny checkpoints.
pub fn tiny_checkpoints() -> Vec<String> {
    let mut stems: Vec<String> = fs::read_dir(path("engine/tests/golden"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_string())
        .filter(|stem| stem.starts_with("tiny-"))
        .collect();
    stems.sort();
    assert!(stems.len() >= 8, "golden logits are missing: {stems:?}");
    stems
}

/// The files of a tiny checkpoint: `tiny-llama-gguf-<format>` is one GGUF, everything else a folder.
pub fn sources(stem: &str) -> Vec<Source> {
    if let Some(format) = stem.strip_prefix("tiny-llama-gguf-") {
        return vec![
            Source::open(path(&format!("models/tiny-llama-gguf/tiny-{format}.gguf"))).unwrap(),
        ];
    }
    let files = fs::read_dir(path("models").join(stem)).unwrap();
    files
        .map(|entry| Source::open(entry.unwrap().path()).unwrap())
        .collect()
}

/// Loads a tiny checkpoint.
pub fn load(stem: &str, backend: BackendChoice) -> Engine {
    load_files(
        sources(stem),
        &LoadOptions {
            backend,
            ..Default::default()
        },
    )
}

/// Loads SmolLM2-135M-Instruct, which `cargo xtask model` fetches.
pub fn load_smollm2(options: &LoadOptions) -> Engine {
    let file = path("models/cache/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(
        file.exists(),
        "SmolLM2 is not there; run `cargo xtask model` first"
    );
    load_files(vec![Source::open(file).unwrap()], options)
}

/// Loads these files.
pub fn load_files(files: Vec<Source>, options: &LoadOptions) -> Engine {
    let mut on_progress = |_| ControlFlow::Continue(());
    pollster::block_on(Engine::load(files, options, &mut on_progress))
        .unwrap_or_else(|e| panic!("{e}"))
}

/// A recorded sequence: `ids[n]` and the reference's `logits[m, vocab]` after the last `m` of them.
pub struct Sequence {
    pub ids: Vec<u32>,
    pub logits: Vec<f32>,
}

/// The sequences of a golden file.
pub fn sequences(stem: &str) -> Vec<Sequence> {
    let bytes = fs::read(path(&format!("engine/tests/golden/{stem}.safetensors"))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let words = |name: &str| -> Vec<[u8; 4]> {
        file.tensor(name)
            .unwrap()
            .data()
            .as_chunks::<4>()
            .0
            .to_vec()
    };
    (0..file.len() / 2)
        .map(|i| Sequence {
            ids: words(&format!("ids_{i}"))
                .into_iter()
                .map(u32::from_le_bytes)
                .collect(),
            logits: words(&format!("logits_{i}"))
                .into_iter()
                .map(f32::from_le_bytes)
                .collect(),
        })
        .collect()
}
