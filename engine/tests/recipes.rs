//! Recipes: a file is run only by one that takes every tensor of it.

#[path = "common/models.rs"]
mod models;

use engine::checkpoint::{Checkpoint, Recording};
use engine::{Error, Result, Source};
use models::{path, sources};
use pollster::block_on;
use serde_json::{Map, Value, json};

/// The recipe that a tiny checkpoint is run by, as it would stand in thimble.json.
fn built_in() -> Value {
    let text = std::fs::read(path("models/recipes/moa_metric.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// A tiny checkpoint with this thimble.json, or with none.
fn record(stem: &str, sidecar: Option<&Value>) -> Result<Recording> {
    let mut files = sources(stem);
    files.retain(|file| !file.name().ends_with("thimble.json"));
    files.extend(
        sidecar.map(|sidecar| Source::memory("thimble.json", sidecar.to_string().as_bytes())),
    );
    block_on(Checkpoint::open(files))?.record(&Map::new())
}

/// The built-in recipe, with one place in it changed.
fn changed(place: &str, to: Value) -> Value {
    let mut recipe = built_in();
    let (parent, key) = place.rsplit_once('/').unwrap();
    match recipe.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = to,
        parent => parent[key] = to,
    }
    json!({ "recipe": recipe })
}

#[test]
fn a_recipe_beside_the_file_does_what_the_built_in_one_does() {
    let own = json!({ "recipe": built_in() });
    for stem in ["tiny-moa-l2", "tiny-moa-maha"] {
        assert_eq!(record(stem, Some(&own)), record(stem, None), "{stem}");
    }
}

#[test]
fn every_tensor_must_be_taken() {
    let without_scale = changed("/layer/0/residual/2", json!({"function": "silu"}));
    let refusal = record("tiny-moa-l2", Some(&without_scale)).unwrap_err();
    let Error::Misfit {
        n_missing,
        n_left_over,
        table,
        ..
    } = refusal
    else {
        panic!("{refusal}")
    };
    assert_eq!((n_missing, n_left_over), (0, 2));
    assert!(table.starts_with("left over: blocks.*.scale1 ["), "{table}");
    assert!(table.ends_with("], 2 of them"), "{table}");
    let ignored = changed("/ignored", json!(["inv_freq", "scale1"]));
    record("tiny-moa-l2", Some(&ignored)).unwrap();
    // Names that no recipe knows: the message says which is missing, and where a recipe may be said.
    let heads = json!({"attn_heads": 2, "mqa_q_heads": 2});
    let refusal = record("tiny-moa-cosine", Some(&heads)).unwrap_err();
    let refusal = refusal.to_string();
    for part in ["embed.weight", "thimble.json", "'recipe'"] {
        assert!(refusal.contains(part), "{refusal}");
    }
}

#[test]
fn recipes_that_cannot_be_end_in_an_error() {
    let mix = "/layer/0/residual/1/mix";
    let attention = format!("{mix}/paths/1/0/attention");
    let changes = [
        ("/layers".into(), json!("blocks.0")),
        ("/layers".into(), json!("bricks.{}")),
        ("/final".into(), json!([{"conv": "local_conv.depthwise"}])),
        (
            "/layer/0/residual".into(),
            json!([{"linear": "channel_mix.fc1"}]),
        ),
        (
            "/layer/0/residual/2/scale/name".into(),
            json!("channel_mix.fc1.weight"),
        ),
        ("/layer/0/residual/2/scale/map".into(), json!("cubed")),
        (format!("{mix}/top_k"), json!(5)),
        (format!("{mix}/top_k"), json!(0)),
        (format!("{mix}/temperature"), json!(0.0)),
        (format!("{mix}/paths/3"), json!([])),
        (format!("{mix}/paths"), json!([])),
        (
            format!("{mix}/paths/0"),
            json!([{"linear": "channel_mix.fc1"}]),
        ),
        (format!("{mix}/offset"), json!("scale1")),
        (format!("{attention}/heads"), json!(0)),
        (format!("{attention}/heads"), json!(3)),
        (format!("{attention}/heads"), json!("$no_such_key")),
        (format!("{attention}/heads"), json!(8)),
        (format!("{attention}/metric"), json!("maha_diag")),
        (format!("{attention}/metric"), json!("l3")),
        (format!("{attention}/k"), json!("mqa.k_proj")),
        (format!("{attention}/alpha/name"), json!("scale1")),
        (format!("{attention}/balls/used"), json!("yes")),
        (format!("{attention}/rope/period"), json!(0.0)),
        (
            format!("{attention}/rope/phase"),
            json!("attn.rope_global.energy"),
        ),
        (format!("{attention}/rope/energy"), json!("router.fc1")),
    ];
    for (place, to) in changes {
        let result = record("tiny-moa-l2", Some(&changed(&place, to.clone())));
        let refusal = result.expect_err(&format!("{place} = {to}"));
        assert!(!refusal.to_string().is_empty());
    }
}

/// Some models end in a block that looks back, which the head, over one token, cannot.
#[test]
fn a_block_may_follow_the_layers() {
    let norm = json!([{"norm": {"name": "norm"}}]);
    let mut recipe = changed("/final", json!([]));
    recipe["recipe"]["after"] = norm;
    let [plain, after] = [None, Some(&recipe)].map(|own| record("tiny-moa-l2", own).unwrap());
    assert_eq!(after.jobs, plain.jobs);
    let [plain, after] = [plain, after].map(|r| (r.program.body().len(), r.program.ops.len()));
    assert_eq!((after.0, after.1), (plain.0 + 1, plain.1));
}
