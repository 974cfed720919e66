//! What is said about a model from outside its files, and what is said of files that do not fit.

#[path = "common/models.rs"]
mod models;

use engine::{
    BackendChoice, Error, LoadOptions, Message, Prompt, Role, Source,
    checkpoint::{Checkpoint, fingerprint},
    profile::{SIDECAR, of_repository},
};
use models::{load_files, path, sources};
use pollster::block_on;
use serde_json::{Map, Value, json};

fn sidecar(json: &Value) -> Source {
    Source::memory(SIDECAR, json.to_string().into_bytes())
}

fn open(stem: &str, more: impl IntoIterator<Item = Source>) -> Checkpoint {
    let files = sources(stem).into_iter().chain(more).collect();
    block_on(Checkpoint::open(files)).unwrap()
}

fn render(checkpoint: &Checkpoint, messages: &[(Role, &str)]) -> String {
    let messages: Vec<Message> = messages
        .iter()
        .map(|(role, text)| Message::new(*role, *text))
        .collect();
    let template = checkpoint.template.as_ref().unwrap();
    template.render(&messages, true).unwrap()
}

#[test]
fn a_sidecar_goes_before_a_profile_and_that_before_the_files() {
    let alone = open("tiny-metis", []);
    assert!(alone.manners.begins_with_bos, "by its family");
    assert_eq!(
        alone.manners.sampling.temperature,
        Some(0.7),
        "by its generation_config.json"
    );
    assert!(alone.template.is_some(), "by its tokenizer_config.json");
    let base = open("tiny-metis", of_repository("Lernex/Metis-1.5-base"));
    assert!(base.template.is_none(), "the base model does not chat");
    assert_eq!(base.config["moe_top_k"], 4);
    let own = sidecar(&json!({
        "chat_template": "{{ messages[0].content }}!",
        "moe_top_k": 3,
        "sampling": {"temperature": 0.1}
    }));
    let own = open(
        "tiny-metis",
        [own].into_iter().chain(of_repository("Metis-1.5-base")),
    );
    assert_eq!(render(&own, &[(Role::User, "Hi")]), "Hi!");
    assert_eq!(own.config["moe_top_k"], 3);
    let sampling = own.manners.sampling;
    assert_eq!(
        (sampling.temperature, sampling.top_p),
        (Some(0.1), Some(0.95))
    );
}

#[test]
fn published_models_talk_as_their_cards_say() {
    let turns = [
        (Role::User, "Hi"),
        (Role::Assistant, "Hello."),
        (Role::User, "Why?"),
    ];
    let neo3 = open(
        "tiny-neo3",
        of_repository("aquiffoo/neo-3-1B-A90M-Instruct"),
    );
    assert_eq!(
        render(&neo3, &turns),
        "<user>\nHi\n</user>\n<assistant>\nHello.\n</assistant>\n<user>\nWhy?\n</user>\n<assistant>\n"
    );
    assert_eq!(neo3.manners.stop, ["</assistant>", "<user>"]);
    let ssmoelm = open("tiny-ssmoelm", of_repository("brulee-1/SSMoELM-it"));
    assert_eq!(
        render(&ssmoelm, &turns),
        "<bos><|user|>\nHi<|eot|>\n<|assistant|>\nHello.<|eot|><eos>\n<|user|>\nWhy?<|eot|>\n<|assistant|>\n"
    );
    let sampling = ssmoelm.manners.sampling;
    assert_eq!(
        (sampling.temperature, sampling.repetition_penalty),
        (Some(0.0), Some(1.3))
    );
    assert_eq!(ssmoelm.max_context(), 2048);
    let base = open("tiny-ssmoelm", of_repository("brulee-1/SSMoELM-Base"));
    assert!(base.template.is_none());
}

#[test]
fn a_sidecar_may_lie_beside_a_gguf() {
    let own = sidecar(&json!({"rope_theta": 77.0, "stop": ["\n\n"], "chat_template": null}));
    let checkpoint = open("tiny-llama-gguf-q8_0", [own]);
    assert_eq!(checkpoint.config["rope_theta"], 77.0);
    assert_eq!(checkpoint.manners.stop, ["\n\n"]);
    assert!(checkpoint.template.is_none());
}

#[test]
fn a_sidecar_that_does_not_hold_is_refused() {
    for (json, part) in [
        (json!([]), "no JSON object"),
        (json!({"stop": 3}), "invalid type"),
        (json!({"chat_template": 3}), "chat_template is no text"),
        (json!({"chat_template": "{% if"}), "template"),
        (json!({"sampling": {"top_k": "all"}}), "invalid type"),
    ] {
        let mut files = sources("tiny-metis");
        files.push(sidecar(&json));
        let refused = block_on(Checkpoint::open(files));
        let error = refused
            .err()
            .unwrap_or_else(|| panic!("{json}"))
            .to_string();
        assert!(error.contains(part), "{json}: {error}");
    }
}

#[test]
fn recommended_stops_end_an_answer() {
    let own = sidecar(&json!({"stop": ["e"], "sampling": {"top_k": 5}}));
    let files = sources("tiny-llama-gqa-tied").into_iter().chain([own]);
    let options = LoadOptions {
        backend: BackendChoice::Cpu,
        ..LoadOptions::default()
    };
    let mut engine = load_files(files.collect(), &options);
    let recommended = engine.info().recommended;
    assert_eq!(recommended.top_k, Some(5));
    let generation = engine::Generation {
        sampling: engine::Sampling {
            temperature: 1.0,
            ..recommended.or(engine::Sampling::MILD)
        },
        max_tokens: 2000,
        stop: vec![],
    };
    let prompt = Prompt::Chat(vec![Message::new(Role::User, "Hi")]);
    let mut answer = String::new();
    let mut on_event = |event| {
        if let engine::Event::Text(text) = event {
            answer.push_str(&text);
        }
        std::ops::ControlFlow::Continue(())
    };
    block_on(engine.generate(&prompt, &generation, &mut on_event)).unwrap();
    assert!(!answer.contains('e'), "{answer}");
}

/// The model's weights with some of their names changed, byte for byte.
fn renamed(from: &str, to: &str) -> Vec<Source> {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(path("models/tiny-llama-gqa-tied/model.safetensors")).unwrap();
    let n_header = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + n_header].to_vec()).unwrap();
    assert!(header.contains(from));
    bytes[8..8 + n_header].copy_from_slice(header.replace(from, to).as_bytes());
    let mut files = sources("tiny-llama-gqa-tied");
    files.retain(|file| file.name() != "model.safetensors");
    files.push(Source::memory("model.safetensors", bytes));
    files
}

#[test]
fn all_that_is_missing_and_left_over_is_said_at_once() {
    let checkpoint = block_on(Checkpoint::open(renamed(".mlp.", ".mpl."))).unwrap();
    let refusal = checkpoint.record(&Map::new()).unwrap_err();
    let n_layers = checkpoint.config["num_hidden_layers"].as_u64().unwrap() as usize;
    let Error::Misfit {
        n_missing,
        n_left_over,
        table,
        ..
    } = &refusal
    else {
        panic!("{refusal}")
    };
    assert_eq!((*n_missing, *n_left_over), (3 * n_layers, 3 * n_layers));
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 6, "{table}");
    let shape = |name: &str| {
        let tensors: Vec<_> = checkpoint
            .tensors()
            .filter(|t| t.name.ends_with(name))
            .collect();
        format!("{:?}, {} of them", tensors[0].shape, tensors.len())
    };
    for name in ["down_proj", "gate_proj", "up_proj"] {
        let shape = shape(&format!("{name}.weight"));
        for line in [
            format!("missing: model.layers.*.mlp.{name}.weight {shape}"),
            format!("left over: model.layers.*.mpl.{name}.weight {shape}"),
        ] {
            assert!(lines.contains(&line.as_str()), "{line}\n{table}");
        }
    }
    let sentence = refusal.to_string();
    assert!(sentence.contains("model.safetensors") && sentence.contains("Download it again"));
}

/// Shapes that no file has are not looked for any further.
#[test]
fn a_config_of_another_model_ends_in_a_sentence() {
    for (key, value) in [
        ("num_hidden_layers", json!(4_000_000_000_u64)),
        ("intermediate_size", json!(4_000_000_000_u64)),
        ("intermediate_size", json!(0)),
        ("vocab_size", json!(u32::MAX)),
    ] {
        let own = sidecar(&json!({key: value}));
        let files = renamed(".mlp.", ".mpl.").into_iter().chain([own]);
        let checkpoint = block_on(Checkpoint::open(files.collect())).unwrap();
        let error = checkpoint.record(&Map::new()).unwrap_err().to_string();
        assert!(
            error.contains("Download it again") || error.contains("config"),
            "{error}"
        );
    }
}

#[test]
fn other_weights_have_another_fingerprint() {
    let file = |name: &str, last: u8| {
        let mut bytes = vec![0; 10_000];
        bytes[9_999] = last;
        Source::memory(name, bytes)
    };
    let of = |files: &[Source]| block_on(fingerprint(files)).unwrap();
    let one = of(&[file("model.safetensors", 1)]);
    assert_eq!(one, of(&[file("model.safetensors", 1)]));
    for other in [
        file("model.safetensors", 2),
        file("model.bin", 1),
        Source::memory("model.safetensors", vec![1]),
    ] {
        assert_ne!(one, of(&[other]));
    }
}
