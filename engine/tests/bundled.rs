//! The model that comes with the page (models/thimble): its files say all that loading needs, and say it rightly.

#[path = "common/models.rs"]
mod models;

use engine::{BackendChoice, Engine, LoadOptions, Source, checkpoint::Checkpoint};
use serde_json::{Map, Value};
use std::fs;

/// The folder's files; `change` may give config.json's settings otherwise.
fn files(change: impl Fn(&mut Map<String, Value>)) -> Vec<Source> {
    let folder = models::path("models/thimble");
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let mut config = serde_json::from_slice(&read("config.json")).unwrap();
    change(&mut config);
    let config = Value::Object(config).to_string().into_bytes();
    let mut files = vec![Source::memory("config.json", config)];
    let others = [
        "generation_config.json",
        "tokenizer.json",
        "model.safetensors",
    ];
    files.extend(others.map(|name| Source::memory(name, read(name))));
    files
}

fn load(files: Vec<Source>) -> Engine {
    let backend = BackendChoice::Cpu;
    let options = LoadOptions {
        backend,
        ..LoadOptions::default()
    };
    models::load_files(files, &options)
}

#[test]
fn it_chats_and_leaves_nothing_open() {
    let engine = load(files(|_| ()));
    let info = engine.info();
    assert_eq!(
        (info.name.as_str(), info.architecture.as_str()),
        ("Thimble", "ssmoelm")
    );
    assert_eq!(info.found, None);
    assert!(info.has_template);
    assert!(info.recommended.repetition_penalty.is_some());
    assert_eq!((info.max_context, info.context), (1024, 1024));
}

#[test]
fn its_settings_are_those_that_its_weights_were_packed_by() {
    let checkpoint = pollster::block_on(Checkpoint::open(files(|_| ()))).unwrap();
    let switches = checkpoint.switches().unwrap();
    let said = &checkpoint.config;
    let engine = load(files(|config| {
        config.retain(|key, _| switches.iter().all(|s| s.key != key))
    }));
    let found = engine.info().found.clone().expect("now something is open");
    assert_eq!(found.settings.len(), switches.len());
    // Its trainer's logits (tests/golden.rs) show which are right. Shares of softmax and of sigmoid, made to sum to one,
    // differ too little to tell; and the calibration's text is among the few (6 of 132 held-out ones as long) that this
    // model reads better, by more than calibration takes for chance, with the angles of another base than it was trained with.
    let settled_elsewhere = ["scoring_func", "rope_theta"];
    let told = found
        .settings
        .iter()
        .filter(|s| !settled_elsewhere.contains(&s.0.as_str()));
    for (key, value) in told {
        assert_eq!(&said[key], value, "{key}");
    }
}
