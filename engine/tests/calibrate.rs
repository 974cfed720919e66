//! Files that say nothing of their conventions load to the same text under all of them: two small models that
//! were trained on stories (models/trained-*), written anew in memory.

#[path = "common/containers.rs"]
mod containers;
#[path = "common/mtlm1.rs"]
mod mtlm1;
#[path = "common/ssmoelm.rs"]
mod ssmoelm;
#[path = "common/tensors.rs"]
mod tensors;

use containers::Random;
use engine::{
    BackendChoice, Engine, Error, Event, Generation, LoadOptions, Prompt, Result, Sampling, Source,
    Stage, calibrate,
};
use serde_json::{Map, Value, json};
use ssmoelm::{COMMITTED, Experts, Names};
use std::{fs, ops::ControlFlow};
use tensors::Tensors;

fn read(relative: &str) -> Vec<u8> {
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../models");
    fs::read(format!("{models}/{relative}")).unwrap()
}

/// The files of one model: these weights, and the tokenizer as it is committed.
struct Files {
    folder: &'static str,
    tensors: Tensors,
    config: Option<Value>,
}

impl Files {
    fn ssmoelm(convention: &ssmoelm::Convention) -> Self {
        let committed = tensors::read(&read("trained-ssmoelm/model.safetensors"));
        Files {
            folder: "trained-ssmoelm",
            tensors: ssmoelm::write(&committed, convention),
            config: None,
        }
    }

    fn mtlm1(convention: &mtlm1::Convention) -> Self {
        let committed = tensors::read(&read("trained-mtlm1/model.safetensors"));
        Files {
            folder: "trained-mtlm1",
            tensors: mtlm1::write(&committed, convention),
            config: Some(convention.keys.config()),
        }
    }

    /// Loads them; also tells how many readings were tried.
    fn load(
        &self,
        backend: BackendChoice,
        sidecar: Option<&Map<String, Value>>,
    ) -> (Result<Engine>, usize) {
        let json = |value: Value| value.to_string().into_bytes();
        let tokenizer = read(&format!("{}/tokenizer.json", self.folder));
        let mut files = vec![
            Source::memory("model.safetensors", tensors::write(&self.tensors)),
            Source::memory("tokenizer.json", tokenizer),
        ];
        let config = self.config.clone().map(|config| ("config.json", config));
        let sidecar = sidecar.map(|settings| ("thimble.json", json!(settings)));
        let small = [config, sidecar].into_iter().flatten();
        files.extend(small.map(|(name, value)| Source::memory(name, json(value))));
        let mut readings = 0;
        let mut on_progress = |progress: engine::Progress| {
            if let Stage::Reading(n) = progress.stage {
                readings = readings.max(n);
            }
            ControlFlow::Continue(())
        };
        let options = LoadOptions {
            backend,
            ..Default::default()
        };
        let engine = pollster::block_on(Engine::load(files, &options, &mut on_progress));
        (engine, readings)
    }

    /// The settings that were found on a backend, how many readings it took, and a greedy text.
    fn found(&self, backend: BackendChoice) -> (Map<String, Value>, usize, String) {
        let (engine, readings) = self.load(backend, None);
        let mut engine = engine.unwrap_or_else(|e| panic!("{e}"));
        let found = engine.info().found.clone().expect("something was open");
        println!("{readings} readings, {:.3} nats per token", found.nll);
        (found.settings, readings, text(&mut engine))
    }
}

/// Twenty tokens, greedily.
fn text(engine: &mut Engine) -> String {
    let generation = Generation {
        sampling: Sampling::greedy(),
        max_tokens: 20,
        stop: Vec::new(),
    };
    let prompt = Prompt::Text("The little girl went to the window and".into());
    let mut text = String::new();
    let mut on_event = |event| {
        if let Event::Text(more) = event {
            text += &more;
        }
        ControlFlow::Continue(())
    };
    pollster::block_on(engine.generate(&prompt, &generation, &mut on_event)).unwrap();
    assert!(text.len() > 20, "{text:?}");
    text
}

fn refusal(files: &Files) -> (String, usize) {
    let (engine, readings) = files.load(BackendChoice::Cpu, None);
    let error = engine.err().expect("it must not load");
    assert!(matches!(error, Error::NotUnderstood { .. }), "{error}");
    (error.to_string(), readings)
}

/// As the file is committed.
const MTLM1: mtlm1::Convention = mtlm1::Convention {
    interleaved: true,
    prefix: "",
    fused: true,
    lm_head: false,
    keys: mtlm1::Keys::Own,
};

/// Bit order × sign × nibble order and offset × pairing × names, each of them in company of every other.
fn ssmoelm_conventions() -> [ssmoelm::Convention; 14] {
    use Names::{HuggingFace, Numbered, Plain, Short};
    let table = [
        (true, true, true, 8, false, Plain),
        (true, true, true, 7, true, Numbered),
        (true, true, false, 0, false, HuggingFace),
        (true, true, false, 8, true, Short),
        (true, false, true, 0, true, Plain),
        (true, false, true, 8, false, HuggingFace),
        (true, false, false, 7, false, Numbered),
        (true, false, false, 0, true, Short),
        (false, true, true, 8, true, HuggingFace),
        (false, true, true, 7, false, Short),
        (false, true, false, 0, true, Numbered),
        (false, false, true, 0, false, Numbered),
        (false, false, false, 8, false, Short),
        (false, false, false, 7, true, HuggingFace),
    ];
    let mut i = 0;
    table.map(
        |(msb_first, one_is_plus, low_first, offset, interleaved, names)| {
            i += 1;
            ssmoelm::Convention {
                msb_first,
                one_is_plus,
                low_first,
                offset,
                interleaved,
                names,
                flat: i % 2 == 0,
                scalar_cols: i % 3 == 0,
                ..COMMITTED
            }
        },
    )
}

/// What calibration has to find of it; all else is as usual.
fn settings(c: &ssmoelm::Convention) -> Map<String, Value> {
    let settings = json!({
        "bits_msb_first": c.msb_first,
        "bits_one_is_plus": c.one_is_plus,
        "gate_first": c.gate_first,
        "nibbles_low_first": c.low_first,
        "nibbles_offset": c.offset,
        "rope_interleaved": c.interleaved,
        "norm_topk_prob": true,
        "scoring_func": "softmax",
        "embedding_offset": c.embedding.filter(|offset| *offset != c.offset),
        "rope_theta": 10000.0,
    });
    settings.as_object().unwrap().clone()
}

#[test]
fn every_convention_of_ssmoelm_is_found() {
    let (_, _, right) = Files::ssmoelm(&COMMITTED).found(BackendChoice::Cpu);
    println!("{right:?}");
    for convention in ssmoelm_conventions() {
        let files = Files::ssmoelm(&convention);
        let (found, readings, text) = files.found(BackendChoice::Cpu);
        assert_eq!(found, settings(&convention), "{convention:?}");
        assert_eq!(text, right, "{convention:?}");
        assert!(readings <= 40, "{readings} readings for {convention:?}");
        // What was found need not be found again.
        let (again, readings) = files.load(BackendChoice::Cpu, Some(&found));
        let mut again = again.unwrap();
        assert_eq!((readings, &again.info().found), (0, &None));
        assert_eq!(self::text(&mut again), right);
    }
}

/// An embedding of three bits in nibbles of four, with the others' offset or one of its own.
#[test]
fn the_offset_of_the_embedding_is_found() {
    let all = ssmoelm_conventions();
    let cases = [(0, 8), (1, 4), (10, 3), (12, 4)];
    let mut texts = cases.map(|(i, offset)| {
        let convention = ssmoelm::Convention {
            embedding: Some(offset),
            ..all[i]
        };
        let (found, _, text) = Files::ssmoelm(&convention).found(BackendChoice::Cpu);
        assert_eq!(found, settings(&convention), "{convention:?}");
        text
    });
    texts.sort();
    assert_eq!(texts[0], texts[cases.len() - 1], "{texts:?}");
}

/// Nats per token of the text that calibration judges by, under these settings.
fn nll(files: &Files, settings: &Map<String, Value>) -> f32 {
    let mut engine = files.load(BackendChoice::Cpu, Some(settings)).0.unwrap();
    let tokens = engine.tokenizer().encode(calibrate::TEXT, false).unwrap();
    let session = engine.session();
    pollster::block_on(calibrate::nll(session, calibrate::sample(&tokens))).unwrap()
}

/// Each switch alone, turned the wrong way.
#[test]
fn wrong_readings_are_clearly_worse() {
    let guessing = 1024f32.ln();
    let files = Files::ssmoelm(&COMMITTED);
    let right = settings(&COMMITTED);
    let best = nll(&files, &right);
    assert!(best < guessing - 2.5, "{best}");
    for (key, wrong) in [
        ("nibbles_offset", json!(7)),
        ("nibbles_offset", json!(0)),
        ("nibbles_low_first", json!(false)),
        ("bits_msb_first", json!(false)),
        ("bits_one_is_plus", json!(false)),
        ("gate_first", json!(false)),
        ("rope_interleaved", json!(true)),
        ("embedding_offset", json!(4)),
    ] {
        let mut settings = right.clone();
        settings[key] = wrong.clone();
        let nll = nll(&files, &settings);
        println!("{key} {wrong}: {nll:.3}, right: {best:.3}");
        assert!(nll > best + 0.5, "{key} {wrong}: {nll}, right: {best}");
    }

    let files = Files::mtlm1(&MTLM1);
    let pairing = |interleaved: bool| {
        let settings = json!({"rope_interleaved": interleaved});
        nll(&files, settings.as_object().unwrap())
    };
    let (right, wrong) = (pairing(true), pairing(false));
    println!("pairs {wrong:.3}, right: {right:.3}");
    assert!(
        right < guessing - 2.5 && wrong > right + 0.5,
        "{wrong}, right: {right}"
    );
}

#[test]
fn every_convention_of_mtlm1_is_found() {
    use mtlm1::Keys::{Gpt, HuggingFace, Own, Silent};
    let table = [
        (true, "", true, false, Own),
        (true, "", false, true, HuggingFace),
        (true, "model.", true, true, Silent),
        (true, "model.", false, false, HuggingFace),
        (true, "transformer.", true, false, Gpt),
        (true, "transformer.", false, true, Own),
        (false, "", true, true, HuggingFace),
        (false, "", false, false, Silent),
        (false, "model.", true, false, HuggingFace),
        (false, "model.", false, true, Gpt),
        (false, "transformer.", true, true, Own),
        (false, "transformer.", false, false, Silent),
    ];
    let mut texts = table.map(|(interleaved, prefix, fused, lm_head, keys)| {
        let convention = mtlm1::Convention {
            interleaved,
            prefix,
            fused,
            lm_head,
            keys,
        };
        let files = Files::mtlm1(&convention);
        let (found, readings, text) = files.found(BackendChoice::Cpu);
        assert_eq!(
            found["rope_interleaved"],
            json!(interleaved),
            "{convention:?}"
        );
        assert_eq!((found.len(), readings), (1, 2), "{convention:?}");
        let (again, readings) = files.load(BackendChoice::Cpu, Some(&found));
        assert_eq!(readings, 0, "{convention:?}");
        assert_eq!(self::text(&mut again.unwrap()), text, "{convention:?}");
        text
    });
    println!("{:?}", texts[0]);
    texts.sort();
    assert_eq!(texts[0], texts[texts.len() - 1], "{texts:?}");
}

#[test]
fn the_gpu_finds_the_same() {
    let convention = ssmoelm_conventions()[7];
    let [cpu, gpu] = [BackendChoice::Cpu, BackendChoice::Gpu];
    assert_eq!(
        Files::ssmoelm(&convention).found(cpu),
        Files::ssmoelm(&convention).found(gpu)
    );
    let convention = mtlm1::Convention {
        interleaved: false,
        prefix: "model.",
        ..MTLM1
    };
    assert_eq!(
        Files::mtlm1(&convention).found(cpu),
        Files::mtlm1(&convention).found(gpu)
    );
}

/// Experts in one tensor or in one each, gate and up matrices in one or in two.
#[test]
fn experts_may_be_stacked_and_fused() {
    let load = |convention: &ssmoelm::Convention| {
        let files = Files::ssmoelm(convention);
        text(
            &mut files
                .load(BackendChoice::Cpu, Some(&settings(convention)))
                .0
                .unwrap(),
        )
    };
    let right = load(&COMMITTED);
    for experts in [Experts::Each, Experts::Stacked, Experts::Cube] {
        for fused in [false, true] {
            for (names, flat) in [
                (Names::Plain, false),
                (Names::Numbered, true),
                (Names::Short, false),
            ] {
                let convention = ssmoelm::Convention {
                    names,
                    flat,
                    experts,
                    fused,
                    ..COMMITTED
                };
                assert_eq!(load(&convention), right, "{convention:?}");
            }
        }
    }
    // Which half the gate is need not be told.
    let convention = ssmoelm::Convention {
        experts: Experts::Cube,
        fused: true,
        gate_first: false,
        ..ssmoelm_conventions()[12]
    };
    let (found, _, text) = Files::ssmoelm(&convention).found(BackendChoice::Cpu);
    assert_eq!((found, text), (settings(&convention), right));
}

/// Nobody's conventions: what is left of the weights means nothing.
#[test]
fn scrambled_files_are_refused() {
    let mut random = Random(3);
    let mut noise = Files::ssmoelm(&COMMITTED);
    for (name, tensor) in &mut noise.tensors {
        if name.ends_with("__bin") || name.ends_with("__int4") {
            tensor.bytes.fill_with(|| random.next() as u8);
        }
    }
    let (message, readings) = refusal(&noise);
    println!("{message}");
    assert!(
        message.contains("knows English") && message.contains("thimble.json"),
        "{message}"
    );
    // Refusing must not take for ever either.
    assert!(readings <= 100, "{readings} readings");
    assert!(
        message.contains(&format!("none of {readings} ways")),
        "{message}"
    );

    let mut shuffled = Files::mtlm1(&MTLM1);
    for tensor in shuffled.tensors.values_mut() {
        let floats = tensor.bytes.as_chunks_mut::<4>().0;
        for i in (1..floats.len()).rev() {
            floats.swap(i, random.below(i + 1));
        }
    }
    assert_eq!(refusal(&shuffled).1, 2);
}
