//! `thimble pack`: the packed file is the model that the folder is when it is packed at load.

#[path = "common/models.rs"]
mod models;

use engine::{BackendChoice, Engine, LoadOptions, Precision, Sampling, Source, session::Tick};
use models::{load_files, path};
use std::{fs, ops::ControlFlow, process::Command};

const FOLDER: &str = "models/trained-mtlm1";

fn greedy(engine: &mut Engine) -> Vec<u32> {
    let prompt: Vec<u32> = (5..25).collect();
    let mut tokens = Vec::new();
    let mut on_tick = |tick| {
        if let Tick::Token(token) = tick {
            tokens.push(token);
        }
        ControlFlow::Continue(())
    };
    let sampling = Sampling::greedy();
    let run = engine.session().run(&prompt, &sampling, 40, &mut on_tick);
    pollster::block_on(run).unwrap();
    tokens
}

#[test]
fn a_packed_file_is_the_folder_packed_at_load() {
    for (name, precision) in [("q8", Precision::Q8), ("q4", Precision::Q4)] {
        let to = format!("{}/packed-{name}.safetensors", env!("CARGO_TARGET_TMPDIR"));
        let output = Command::new(env!("CARGO_BIN_EXE_thimble"))
            .args(["pack", path(FOLDER).to_str().unwrap(), &to])
            .args(["--precision", name])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let folder = fs::read_dir(path(FOLDER))
            .unwrap()
            .map(|entry| Source::open(entry.unwrap().path()).unwrap())
            .filter(|source| !source.name().ends_with(".md"));
        let options = LoadOptions {
            backend: BackendChoice::Cpu,
            precision,
            ..LoadOptions::default()
        };
        let mut at_load = load_files(folder.collect(), &options);
        // The file says itself what it is: nothing is asked for.
        let packed = LoadOptions {
            backend: BackendChoice::Cpu,
            ..LoadOptions::default()
        };
        let mut packed = load_files(vec![Source::open(&to).unwrap()], &packed);
        assert_eq!(packed.info().weight_bytes, at_load.info().weight_bytes);
        assert!(
            fs::metadata(&to).unwrap().len() < 700_000,
            "{name} is small"
        );
        assert_eq!(greedy(&mut packed), greedy(&mut at_load), "{name}");
    }
}

#[test]
fn a_packed_file_that_does_not_hold_is_refused() {
    let to = format!(
        "{}/packed-to-break.safetensors",
        env!("CARGO_TARGET_TMPDIR")
    );
    let status = Command::new(env!("CARGO_BIN_EXE_thimble"))
        .args(["pack", path(FOLDER).to_str().unwrap(), &to])
        .args(["--precision", "q8"])
        .status()
        .unwrap();
    assert!(status.success());
    let whole = fs::read(&to).unwrap();
    let text = String::from_utf8_lossy(&whole[..40_000]).into_owned();
    for (from, into) in [
        (r#"\"format\":\"q8\""#, r#"\"format\":\"q4\""#),
        (r#"\"transposed\":false"#, r#"\"transposed\":1e10 "#),
        (r#"\"shape\":[1024,128]"#, r#"\"shape\":[9024,128]"#),
        (r#"\"shape\":[1024,128]"#, r#"\"shape\":[1024,  0]"#),
    ] {
        assert_eq!(from.len(), into.len());
        let at = text
            .find(from)
            .unwrap_or_else(|| panic!("{from} in {text}"));
        let mut broken = whole.clone();
        broken[at..at + from.len()].copy_from_slice(into.as_bytes());
        let source = Source::memory("broken.safetensors", broken);
        let mut go_on = |_| ControlFlow::Continue(());
        let options = LoadOptions::default();
        let loaded = Engine::load(vec![source], &options, &mut go_on);
        let error = pollster::block_on(loaded).err().unwrap().to_string();
        assert!(error.contains("thimble.packed"), "{into}: {error}");
    }
}
