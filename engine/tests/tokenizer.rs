//! Tokens equal those of Hugging Face's tokenizers, and bytes join to the text again.

#[path = "common/steps.rs"]
mod steps;

use std::{fs, path::PathBuf, time::Instant};

use engine::{
    text::{TokenStream, Tokenizer, tokenizer::HfFiles},
    weights::{
        gguf,
        metadata::{Metadata, Value},
        source::Source,
    },
};
use pollster::block_on;
use serde_json::{Value as Json, json};

fn here(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// SmolLM2's settings.
fn smollm2() -> Metadata {
    let path = here("../models/cache/SmolLM2-135M-Instruct.Q4_1.gguf");
    let source = Source::open(&path).unwrap_or_else(|e| panic!("{e}: run `cargo xtask model`"));
    block_on(gguf::open(&source, 0)).unwrap().metadata
}

struct Golden {
    cases: Vec<(String, Vec<u32>)>,
    /// Cases whose decoded text is another, by index.
    lossy: Vec<(usize, String)>,
}

fn golden() -> Golden {
    let json: Json =
        serde_json::from_slice(&fs::read(here("tests/golden/smollm2_tokens.json")).unwrap())
            .unwrap();
    Golden {
        cases: serde_json::from_value(json["cases"].clone()).unwrap(),
        lossy: serde_json::from_value(json["lossy"].clone()).unwrap(),
    }
}

/// The golden cases, which Python's tokenizers wrote, and texts as Rust's decode them.
fn check_all(tokenizer: &Tokenizer, theirs: &tokenizers::Tokenizer) {
    let decode = |ids: &[u32]| theirs.decode(ids, false).unwrap();
    let Golden { cases, lossy } = golden();
    assert_eq!(cases.len(), 2_000);
    for (i, (text, ids)) in cases.iter().enumerate() {
        assert_eq!(
            &tokenizer.encode(text, true).unwrap(),
            ids,
            "case {i}: {text:?}"
        );
        let decoded = lossy
            .iter()
            .find(|(at, _)| *at == i)
            .map_or(text, |(_, decoded)| decoded);
        assert_eq!(&decode(ids), decoded, "case {i}");
        let plain: Vec<u32> = ids
            .iter()
            .copied()
            .filter(|id| !tokenizer.is_special(*id))
            .collect();
        let mut stream = TokenStream::new(&[], tokenizer.begins_with_space());
        let mut streamed: String = plain
            .iter()
            .map(|id| stream.push(&tokenizer.token_bytes(*id)))
            .collect();
        streamed += &stream.finish();
        assert_eq!(streamed, decode(&plain), "case {i}");
    }
}

#[test]
fn gguf_tokens_equal_hugging_faces() {
    let metadata = smollm2();
    let start = Instant::now();
    let tokenizer = Tokenizer::from_gguf(&metadata).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    println!("tokenizer built in {:.0} ms", seconds * 1e3);
    assert!(seconds < 3.0, "{seconds} s to build");
    assert_eq!(tokenizer.vocab_size(), 49_152);
    assert_eq!((tokenizer.bos(), tokenizer.add_bos()), (Some(1), false));
    assert_eq!(tokenizer.eos_ids(), [0, 2]);
    assert!(tokenizer.is_special(16) && !tokenizer.is_special(17));
    assert_eq!(tokenizer.names()["eos_token"], "<|im_end|>");
    assert_eq!(tokenizer.token_bytes(2), b"");
    assert_eq!(tokenizer.token_bytes(1 << 30), b"");
    let theirs = serde_json::to_vec(&as_tokenizer_json(&metadata)).unwrap();
    check_all(
        &tokenizer,
        &tokenizers::Tokenizer::from_bytes(theirs).unwrap(),
    );
}

/// The same tokenizer as `tokenizer.json`, as its authors publish it.
fn as_tokenizer_json(metadata: &Metadata) -> Json {
    let tokens = metadata.strings("tokenizer.ggml.tokens").unwrap();
    let kinds = metadata.ints("tokenizer.ggml.token_type").unwrap();
    let vocab: serde_json::Map<String, Json> = tokens
        .iter()
        .enumerate()
        .map(|(i, t)| (t.clone(), json!(i)))
        .collect();
    let added: Vec<Json> = tokens
        .iter()
        .zip(kinds)
        .enumerate()
        .filter(|(_, (_, kind))| **kind == 3)
        .map(|(id, (content, _))| json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}))
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0", "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": true}, byte_level]},
        "post_processor": null, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": metadata.strings("tokenizer.ggml.merges").unwrap()}
    })
}

#[test]
fn tokenizer_json_tokens_equal_hugging_faces() {
    let bytes = serde_json::to_vec(&as_tokenizer_json(&smollm2())).unwrap();
    let tokenizer = Tokenizer::from_json(&bytes).unwrap();
    assert_eq!(tokenizer.eos_ids(), [0, 2]);
    check_all(
        &tokenizer,
        &tokenizers::Tokenizer::from_bytes(&bytes).unwrap(),
    );
}

#[test]
fn every_known_step_does_as_hugging_faces() {
    steps::each_does_as_hugging_faces();
}

#[test]
fn what_a_post_processor_puts_first_begins_a_text() {
    let token = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
    let special = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let template = json!({"type": "TemplateProcessing", "single": [special("<s>"), {"Sequence": {"id": "A", "type_id": 0}}, special("</s>")],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<s>": token("<s>", 1), "</s>": token("</s>", 2)}});
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true});
    let cases = [
        (bytes.clone(), vec![]),
        (template.clone(), vec![1]),
        (
            json!({"type": "Sequence", "processors": [bytes, template]}),
            vec![1],
        ),
        (
            json!({"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1], "trim_offsets": true, "add_prefix_space": false}),
            vec![1],
        ),
    ];
    for (post_processor, expected) in cases {
        let file = serde_json::to_vec(&steps::made(
            false,
            &json!({"post_processor": post_processor}),
        ))
        .unwrap();
        let theirs = tokenizers::Tokenizer::from_bytes(&file).unwrap();
        assert!(
            theirs
                .encode_fast("a", true)
                .unwrap()
                .get_ids()
                .starts_with(&expected)
        );
        let ours = Tokenizer::from_json(&file).unwrap();
        assert_eq!(
            ours.encode("", false).unwrap(),
            expected,
            "{post_processor}"
        );
    }
}

/// A SentencePiece-like `tokenizer.json` with a BOS post-processor.
fn sentencepiece_json() -> Vec<u8> {
    let mut vocab = serde_json::Map::new();
    for (i, token) in ["<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "▁ab"]
        .iter()
        .enumerate()
    {
        vocab.insert(token.to_string(), json!(i));
    }
    for byte in 0..256 {
        vocab.insert(format!("<0x{byte:02X}>"), json!(8 + byte));
    }
    let special = |id: u32, content: &str| json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let bos = json!({"SpecialToken": {"id": "<s>", "type_id": 0}});
    let eos = json!({"SpecialToken": {"id": "</s>", "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    serde_json::to_vec(&json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null,
        "post_processor": {"type": "TemplateProcessing", "single": [bos, text, eos], "pair": [bos, text, eos],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": true, "byte_fallback": true, "vocab": vocab, "merges": ["▁ a", "▁a b"]}
    }))
    .unwrap()
}

#[test]
fn sentencepiece_spells_bytes_and_spaces() {
    let tokenizer = Tokenizer::from_hf(&HfFiles {
        tokenizer: &sentencepiece_json(),
        tokenizer_config: Some(br#"{"bos_token": {"content": "<s>"}, "eos_token": "</s>"}"#),
        generation_config: Some(br#"{"eos_token_id": [2, 7]}"#),
        config: Some(br#"{"eos_token_id": 5}"#),
    })
    .unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.add_bos()), (Some(1), true));
    assert_eq!(tokenizer.eos_ids(), [2, 5, 7]);
    let ids = tokenizer.encode("ab é a", false).unwrap();
    assert_eq!(
        ids,
        [1, 7, 3, 8 + 0xC3, 8 + 0xA9, 6],
        "the text begins with BOS and does not end with EOS"
    );
    assert_eq!(tokenizer.encode("ab é a", true).unwrap(), ids[1..]);
    let bytes: Vec<Vec<u8>> = ids.iter().map(|id| tokenizer.token_bytes(*id)).collect();
    assert_eq!(bytes, [&b""[..], b" ab", b" ", b"\xC3", b"\xA9", b" a"]);
    let mut stream = TokenStream::new(&[], tokenizer.begins_with_space());
    let pieces: Vec<String> = bytes.iter().map(|b| stream.push(b)).collect();
    assert_eq!(pieces, ["", "ab", " ", "", "é", " a"]);
}

/// A GGUF's settings with SentencePiece's own vocabulary of Llama's kind, and what it makes of strings.
fn pieces() -> (Metadata, Vec<(String, Vec<u32>)>) {
    let path = here("tests/golden/sentencepiece_tokens.json");
    let mut json: Json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut metadata = Metadata::new("m.gguf");
    let values = [
        ("model", Value::Str("llama".into())),
        (
            "tokens",
            Value::Strings(serde_json::from_value(json["tokens"].take()).unwrap()),
        ),
        (
            "scores",
            Value::Floats(serde_json::from_value(json["scores"].take()).unwrap()),
        ),
        (
            "token_type",
            Value::Ints(serde_json::from_value(json["token_type"].take()).unwrap()),
        ),
        ("bos_token_id", Value::Uint(1)),
        ("eos_token_id", Value::Uint(2)),
    ];
    for (key, value) in values {
        metadata.insert(format!("tokenizer.ggml.{key}"), value);
    }
    (
        metadata,
        serde_json::from_value(json["cases"].take()).unwrap(),
    )
}

#[test]
fn a_gguf_cuts_as_sentencepiece_does() {
    let (mut metadata, cases) = pieces();
    let tokenizer = Tokenizer::from_gguf(&metadata).unwrap();
    assert_eq!(cases.len(), 800);
    for (text, ids) in &cases {
        assert_eq!(&tokenizer.encode(text, true).unwrap(), ids, "{text:?}");
        let mut stream = TokenStream::new(&[], tokenizer.begins_with_space());
        let bytes = ids.iter().map(|id| tokenizer.token_bytes(*id));
        let mut streamed: String = bytes.map(|bytes| stream.push(&bytes)).collect();
        streamed += &stream.finish();
        // A blank is all that SentencePiece's sign can mean.
        assert_eq!(streamed, text.replace('▁', " "));
    }
    assert_eq!((tokenizer.bos(), tokenizer.add_bos()), (Some(1), true));
    assert_eq!(tokenizer.eos_ids(), [2]);
    let a = tokenizer.encode("a", true).unwrap();
    assert_eq!(
        tokenizer.encode("a<s>a", false).unwrap(),
        [&[1], &a[..], &[1], &a].concat()
    );

    let key = "tokenizer.ggml.add_space_prefix".to_string();
    metadata.insert(key, Value::Bool(false));
    let without = Tokenizer::from_gguf(&metadata).unwrap();
    assert_eq!(without.encode(" a", true).unwrap(), a);

    metadata.insert("tokenizer.ggml.scores".into(), Value::Floats(vec![0.0]));
    let error = Tokenizer::from_gguf(&metadata).unwrap_err().to_string();
    assert!(error.contains("it has 1000 tokens and 1 scores"), "{error}");
}

#[test]
fn a_tokenizer_that_cannot_be_used_gives_a_sentence() {
    let with = |key: &str, value: Value| {
        let mut metadata = Metadata::new("m.gguf");
        let strings =
            |texts: &[&str]| Value::Strings(texts.iter().map(|t| t.to_string()).collect());
        let base = [
            ("model", Value::Str("gpt2".into())),
            ("pre", Value::Str("gpt-2".into())),
            ("tokens", strings(&["a", "b", "ab"])),
            ("merges", strings(&["a b"])),
            ("token_type", Value::Ints(vec![1, 1, 3])),
        ];
        for (base_key, base_value) in base {
            metadata.insert(format!("tokenizer.ggml.{base_key}"), base_value);
        }
        metadata.insert(format!("tokenizer.ggml.{key}"), value);
        Tokenizer::from_gguf(&metadata)
    };
    let strings = |texts: &[&str]| Value::Strings(texts.iter().map(|t| t.to_string()).collect());
    assert!(with("pre", Value::Str("default".into())).is_ok());
    let cases = [
        (
            "model",
            Value::Str("bert".into()),
            "holds a tokenizer of the kind 'bert', and Thimble reads 'gpt2'",
        ),
        (
            "pre",
            Value::Str("tekken".into()),
            "in the way 'tekken' (tokenizer.ggml.pre), and Thimble knows: default, gpt-2, smollm",
        ),
        (
            "tokens",
            Value::Bool(true),
            "'tokenizer.ggml.tokens' must be an array of texts and is a bool",
        ),
        (
            "tokens",
            strings(&["a", "b", "a"]),
            "the token 'a' is in its vocabulary twice",
        ),
        (
            "merges",
            strings(&["ab"]),
            "its merge rule 'ab' has no blank between two tokens",
        ),
        ("merges", strings(&["é"]), "its merge rule 'é' has no blank"),
        ("merges", strings(&["b a"]), "Token `ba` out of vocabulary"),
        (
            "token_type",
            Value::Ints(vec![1]),
            "it has 3 tokens and 1 token types",
        ),
        (
            "eos_token_id",
            Value::Uint(3),
            "its eos_token is 3, and there are 3 tokens",
        ),
        (
            "bos_token_id",
            Value::Int(-1),
            "'tokenizer.ggml.bos_token_id' is Int(-1), which is out of range",
        ),
    ];
    for (key, value, sentence) in cases {
        let error = with(key, value).expect_err(sentence).to_string();
        assert!(error.contains(sentence), "{error}");
    }
    let error = Tokenizer::from_json(b"{}").unwrap_err().to_string();
    assert!(
        error.contains("the model's tokenizer cannot be used: tokenizer.json does not hold byte pairs to merge (BPE)"),
        "{error}"
    );
    let cases = [
        (
            json!({"pre_tokenizer": {"type": "UnicodeScripts"}}),
            r#"has the step {"type":"UnicodeScripts"}, which Thimble does not know"#,
        ),
        (
            json!({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"}}),
            "the pattern '(a' that it cuts text at does not hold",
        ),
        (
            json!({"pre_tokenizer": {"type": "Split", "pattern": "a"}}),
            "has the pattern",
        ),
        (
            json!({"pre_tokenizer": {"type": "Split", "pattern": {"String": "a"}, "behavior": "Eaten"}}),
            "has the behavior",
        ),
        (
            json!({"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0]]}}),
            "expected BPE",
        ),
        (
            json!({"decoder": {"type": "WordPiece"}}),
            r#"has the decoder {"type":"WordPiece"}"#,
        ),
    ];
    for (part, sentence) in cases {
        let file = serde_json::to_vec(&steps::made(false, &part)).unwrap();
        let error = Tokenizer::from_json(&file).expect_err(sentence).to_string();
        assert!(error.contains(sentence), "{error}");
    }
}
