//! The engine as a browser runs it: wasm32 in a worker, WebGPU on whatever adapter there is.
#![cfg(target_arch = "wasm32")]

#[path = "common/steps.rs"]
mod steps;

use engine::{
    BackendChoice, Engine, LoadOptions, Sampling, Source,
    session::{End, Tick},
};
use safetensors::SafeTensors;
use std::ops::ControlFlow;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

const MODEL: &[u8] = include_bytes!("../../models/tiny-llama-gguf/tiny-q4_1.gguf");

/// A tiny checkpoint's files and what tools/golden.py recorded of it.
struct Case {
    name: &'static str,
    files: &'static [(&'static str, &'static [u8])],
    golden: &'static [u8],
}

/// Between them, every packed format, and both rotary pairings.
const CASES: [Case; 3] = [
    Case {
        name: "q4 and q8",
        files: &[("tiny-q4_1.gguf", MODEL)],
        golden: include_bytes!("golden/tiny-llama-gguf-q4_1.safetensors"),
    },
    Case {
        name: "f16 and f32",
        files: &[(
            "tiny-f16.gguf",
            include_bytes!("../../models/tiny-llama-gguf/tiny-f16.gguf"),
        )],
        golden: include_bytes!("golden/tiny-llama-gguf-f16.safetensors"),
    },
    Case {
        name: "bf16",
        files: &[
            (
                "config.json",
                include_bytes!("../../models/tiny-llama-mha-untied/config.json"),
            ),
            (
                "tokenizer.json",
                include_bytes!("../../models/tiny-llama-mha-untied/tokenizer.json"),
            ),
            (
                "model.safetensors",
                include_bytes!("../../models/tiny-llama-mha-untied/model.safetensors"),
            ),
        ],
        golden: include_bytes!("golden/tiny-llama-mha-untied.safetensors"),
    },
];

/// A file as a visitor picks it.
fn blob(name: &str, bytes: &[u8]) -> Source {
    let parts = js_sys::Array::of1(&js_sys::Uint8Array::from(bytes));
    let blob = web_sys::Blob::new_with_u8_array_sequence(&parts).unwrap();
    Source::blob(name, blob)
}

async fn load(case: &Case, backend: BackendChoice) -> Engine {
    let files = case
        .files
        .iter()
        .map(|(name, bytes)| blob(name, bytes))
        .collect();
    let mut on_progress = |_| ControlFlow::Continue(());
    let options = LoadOptions {
        backend,
        ..Default::default()
    };
    Engine::load(files, &options, &mut on_progress)
        .await
        .unwrap_or_else(|e| panic!("{}: {e}", case.name))
}

async fn greedy(engine: &mut Engine) -> Vec<u32> {
    let prompt: Vec<u32> = (0..33).map(|i| 3 + i * 7919 % 250).collect();
    let mut tokens = Vec::new();
    let mut on_tick = |tick| {
        if let Tick::Token(token) = tick {
            tokens.push(token);
        }
        ControlFlow::Continue(())
    };
    let run = engine
        .session()
        .run(&prompt, &Sampling::greedy(), 20, &mut on_tick)
        .await
        .unwrap();
    assert_eq!(run.end, End::Length);
    tokens
}

/// The logits that tools/golden.py recorded, in every format and on both backends. The browser's shader
/// compiler is stricter than ours: this is where it sees every format's kernels.
#[wasm_bindgen_test]
async fn logits_are_those_of_the_reference() {
    for case in &CASES {
        let golden = SafeTensors::deserialize(case.golden).unwrap();
        let words = |name: &str| {
            golden
                .tensor(name)
                .unwrap()
                .data()
                .as_chunks::<4>()
                .0
                .to_vec()
        };
        let ids: Vec<u32> = words("ids_0").into_iter().map(u32::from_le_bytes).collect();
        let logits: Vec<f32> = words("logits_0")
            .into_iter()
            .map(f32::from_le_bytes)
            .collect();
        let vocab = logits.len() / ids.len();
        let want = &logits[logits.len() - vocab..];
        for choice in [BackendChoice::Cpu, BackendChoice::Gpu] {
            let mut engine = load(case, choice).await;
            let backend = engine.session().backend();
            backend.begin(&Sampling::greedy(), &vec![0; vocab.div_ceil(32)]);
            backend.prefill(0, &ids, true).unwrap();
            let got = backend.logits().await.unwrap();
            backend.discard();
            let error: f32 = got.iter().zip(want).map(|(g, w)| (g - w) * (g - w)).sum();
            let norm: f32 = want.iter().map(|w| w * w).sum();
            // As in golden.rs.
            let bound = match choice {
                BackendChoice::Cpu => 1e-5,
                _ => 1e-6,
            };
            assert!(
                error <= bound * norm,
                "{} {choice:?}: NMSE {:e}",
                case.name,
                error / norm
            );
        }
    }
}

#[wasm_bindgen_test]
async fn greedy_text_is_the_same_on_both_backends() {
    let cpu = greedy(&mut load(&CASES[0], BackendChoice::Cpu).await).await;
    let gpu = greedy(&mut load(&CASES[0], BackendChoice::Gpu).await).await;
    assert_eq!(cpu.len(), 20);
    assert_eq!(cpu, gpu);
}

/// A read beyond the file's end is an error, not a panic.
#[wasm_bindgen_test]
async fn a_blob_ends_where_it_ends() {
    let source = blob("tiny-q4_1.gguf", MODEL);
    assert_eq!(source.len(), MODEL.len() as u64);
    assert_eq!(source.read(4..8).await.unwrap(), MODEL[4..8]);
    assert!(
        source
            .read(source.len() - 4..source.len() + 4)
            .await
            .is_err()
    );
}

/// Regular expressions and normal forms are the browser's here, and Hugging Face's natively.
#[wasm_bindgen_test]
fn every_known_step_does_as_hugging_faces() {
    steps::each_does_as_hugging_faces();
}

#[wasm_bindgen_test]
fn a_pattern_that_is_none_gives_a_sentence() {
    let split =
        serde_json::json!({"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"});
    let file = steps::made(false, &serde_json::json!({"pre_tokenizer": split}));
    let file = serde_json::to_vec(&file).unwrap();
    let error = engine::text::Tokenizer::from_json(&file).unwrap_err();
    let sentence = "the pattern '(a' that it cuts text at does not hold";
    assert!(error.to_string().contains(sentence), "{error}");
}
