//! Normalizers and pre-tokenizers beside Hugging Face's, natively and in the browser.

use engine::text::Tokenizer;
use serde_json::{Value as Json, json};

/// What is hard to cut: contractions, runs of blanks, digits and signs of other scripts, what has several normal forms, emoji
/// of several characters, added tokens with and without blanks around them.
const HARD: [&str; 12] = [
    "",
    " ",
    "It's I'LL we've'd 'tis don't!?\n\n\tx  y   ",
    "2024-12-31, 3.14 and 1,234,567 ½ ² ٣٤ Ⅷ",
    "naïve café e\u{301}clair ﬁ ﬀ Å \u{212B} ｶﾞ ①",
    "日本語のテキスト。中文 한국어 हिन्दी ไทย",
    "👩‍👩‍👧 🇩🇪 👍🏽 \u{FEFF}bom \u{A0}nbsp\u{3000}wide\u{85}next\r\nline\r",
    "a<s>b <s> c</s></s> <s>",
    "  [MASK] x[MASK]y  [MASK]\n",
    "word wordy swords word",
    "$^|~`<=>+ _a_ «quoted» ¿que? -- — … foo.bar(baz)[0] = {1: 'x'}\u{301}",
    "▁already ▁▁marked▁ <0x41> Ġ Ċ",
];

/// A tokenizer of bytes, or of bytes spelled out, and some merges; `with` sets its other parts.
pub fn made(byte_fallback: bool, with: &Json) -> Json {
    let mut tokens: Vec<String> = vec!["<unk>".into(), "<s>".into(), "</s>".into()];
    if byte_fallback {
        tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    }
    // All of Latin-1 and GPT-2's own characters are tokens.
    tokens.extend((33..=323).filter_map(char::from_u32).map(String::from));
    let merges = [
        ("Ġ", "a"),
        ("▁", "▁"),
        ("i", "t"),
        ("l", "l"),
        ("o", "r"),
        ("w", "or"),
        ("wor", "d"),
        ("2", "0"),
        ("Ċ", "Ċ"),
    ];
    tokens.push("▁".into());
    tokens.extend(merges.iter().map(|(a, b)| format!("{a}{b}")));
    let vocab: serde_json::Map<String, Json> = tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (token.clone(), json!(id)))
        .collect();
    let added = |id: usize, content: &str, flags: Json| {
        let mut token = json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
        token
            .as_object_mut()
            .unwrap()
            .extend(flags.as_object().unwrap().clone());
        token
    };
    let mut made = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [
            added(1, "<s>", json!({})), added(2, "</s>", json!({"rstrip": true})),
            added(tokens.len(), "[MASK]", json!({"lstrip": true})),
            added(vocab["word"].as_u64().unwrap() as usize, "word", json!({"single_word": true, "normalized": true, "special": false})),
        ],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": true, "byte_fallback": byte_fallback, "vocab": vocab, "merges": merges}
    });
    made.as_object_mut()
        .unwrap()
        .extend(with.as_object().unwrap().clone());
    made
}

/// Panics where a step of ours makes other tokens of a hard text than theirs.
pub fn each_does_as_hugging_faces() {
    let byte_level = |prefix: bool, regex: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": regex});
    let split = |pattern: Json, behavior: &str, invert: bool| json!({"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert});
    let metaspace = |scheme: &str, split: bool| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split});
    let behaviors = [
        "Removed",
        "Isolated",
        "MergedWithPrevious",
        "MergedWithNext",
        "Contiguous",
    ];
    let mut pre_tokenizers = vec![
        json!(null),
        json!({"type": "Whitespace"}),
        json!({"type": "WhitespaceSplit"}),
        json!({"type": "Digits", "individual_digits": true}),
        json!({"type": "Digits", "individual_digits": false}),
        json!({"type": "Metaspace", "replacement": "▁", "add_prefix_space": true}),
        // Of the bundled model.
        json!({"type": "Sequence", "pretokenizers": [metaspace("first", false),
            split(json!({"Regex": r"'(?:s|t|re|ve|m|ll|d)\b|▁?[A-Za-z]+|▁?[0-9]|\n|▁?[^\sA-Za-z0-9▁]+|▁+"}), "Isolated", false)]}),
        // Of Llama 3.
        json!({"type": "Sequence", "pretokenizers": [split(json!({"Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"}), "Isolated", false), byte_level(false, false)]}),
    ];
    for prefix in [false, true] {
        pre_tokenizers.extend([byte_level(prefix, true), byte_level(prefix, false)]);
    }
    for scheme in ["first", "never", "always"] {
        pre_tokenizers.extend([metaspace(scheme, true), metaspace(scheme, false)]);
    }
    for behavior in behaviors {
        pre_tokenizers.push(json!({"type": "Punctuation", "behavior": behavior}));
        for invert in [false, true] {
            pre_tokenizers.push(split(json!({"String": " "}), behavior, invert));
            pre_tokenizers.push(split(json!({"Regex": r"\d+|\W"}), behavior, invert));
        }
    }
    let mut normalizers: Vec<Json> = ["NFC", "NFD", "NFKC", "NFKD", "Lowercase"]
        .iter()
        .map(|form| json!({"type": form}))
        .collect();
    normalizers.extend([
        json!(null),
        json!({"type": "Strip", "strip_left": true, "strip_right": false}),
        json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}),
        json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁▁"}),
    ]);
    let cases = pre_tokenizers.iter().map(|step| ("pre_tokenizer", step));
    for (key, step) in cases.chain(normalizers.iter().map(|step| ("normalizer", step))) {
        for byte_fallback in [false, true] {
            let file = serde_json::to_vec(&made(byte_fallback, &json!({key: step}))).unwrap();
            let ours = Tokenizer::from_json(&file).unwrap_or_else(|e| panic!("{step}: {e}"));
            let theirs = tokenizers::Tokenizer::from_bytes(&file).unwrap();
            assert_eq!(ours.vocab_size(), theirs.get_vocab_size(true));
            for text in HARD {
                let expected = theirs.encode_fast(text, false).unwrap();
                assert_eq!(
                    ours.encode(text, true).unwrap(),
                    expected.get_ids(),
                    "{step} of {text:?}"
                );
            }
        }
    }
}
