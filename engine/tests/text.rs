//! Chat templates render as `transformers` renders them; streamed pieces join to the whole.

#[path = "common/containers.rs"]
mod containers;

use std::{collections::BTreeMap, fs, path::Path};

use containers::Random;
use engine::{
    Error,
    text::{ChatTemplate, Message, Role, TokenStream},
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    templates: BTreeMap<String, String>,
    conversations: BTreeMap<String, Vec<Message>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    conversation: String,
    add_generation_prompt: bool,
    /// Nothing where the template refuses the conversation.
    text: Option<String>,
}

fn tokens() -> BTreeMap<String, String> {
    [("bos_token", "<s>"), ("eos_token", "</s>")]
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .into()
}

fn user(text: &str) -> Vec<Message> {
    vec![Message::new(Role::User, text)]
}

#[test]
fn templates_render_as_transformers_renders_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/chat_templates.json");
    let golden: Golden = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert!(golden.cases.len() >= 32);
    for case in golden.cases {
        let template = ChatTemplate::new(&golden.templates[&case.template], &tokens()).unwrap();
        let got = template.render(
            &golden.conversations[&case.conversation],
            case.add_generation_prompt,
        );
        let name = format!("{} on {}", case.template, case.conversation);
        match case.text {
            Some(text) => assert_eq!(got.unwrap(), text, "{name}"),
            None => assert!(matches!(got, Err(Error::Template(_))), "{name}: {got:?}"),
        }
    }
}

#[test]
fn a_broken_template_gives_its_line() {
    let new = |source: &str| ChatTemplate::new(source, &tokens());
    let broken = [
        (
            "a\nb {% if x %}",
            "syntax error: unexpected end of input",
            "(line 2)",
        ),
        ("{{ 'open }}", "syntax error", "(line 1)"),
        (
            "\n\n{% nothing %}",
            "syntax error: unknown statement nothing",
            "(line 3)",
        ),
    ];
    for (source, problem, line) in broken {
        let error = new(source).unwrap_err().to_string();
        assert!(
            error.contains("the model's chat template cannot be used: ")
                && error.contains(problem)
                && error.contains(line),
            "{error}"
        );
    }
    let fails = [
        ("\n{{ messages.strip() }}", "unknown method", "(line 2)"),
        ("{{ nothing.at.all }}", "undefined value", "(line 1)"),
        ("{{ nothing() }}", "unknown function", "(line 1)"),
        (
            "\n{{ raise_exception('Only one role: user.') }}",
            "it refuses this conversation: Only one role: user.",
            "(line 2)",
        ),
        (
            "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
            "engine ran out of fuel",
            "(line 1)",
        ),
        (
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "recursion",
            "(line 1)",
        ),
    ];
    for (source, problem, line) in fails {
        let error = new(source)
            .unwrap()
            .render(&user("Hi"), true)
            .unwrap_err()
            .to_string();
        assert!(error.contains(problem) && error.contains(line), "{error}");
    }
}

#[test]
fn a_template_may_ask_for_the_date() {
    let template = ChatTemplate::new("{{ strftime_now('%Y-%m-%d') }}", &tokens()).unwrap();
    let date = template.render(&[], false).unwrap();
    assert!(date.len() == 10 && date > "2025".to_string(), "{date}");
}

fn stream_all(stops: &[String], trims: bool, pieces: &[&[u8]]) -> (String, bool) {
    let mut stream = TokenStream::new(stops, trims);
    let mut text = String::new();
    for piece in pieces {
        text += &stream.push(piece);
    }
    text += &stream.finish();
    (text, stream.stopped())
}

#[test]
fn any_split_joins_to_the_same_text() {
    let alphabet: [&[u8]; 16] = [
        b"a",
        b"b",
        b"ab",
        b" ",
        b"\n",
        "é".as_bytes(),
        "日本".as_bytes(),
        "🙂".as_bytes(),
        "👩‍👩‍👧".as_bytes(),
        b"\xFF",
        b"\xC3",
        b"\xF0\x9F",
        b"<|",
        b"|>",
        b"aab",
        b"END",
    ];
    let stop_sets: [&[&str]; 5] = [
        &[],
        &["aab"],
        &["END", "ab\n"],
        &["abaab", "baa", "é"],
        &["🙂🙂", "\n\n", ""],
    ];
    let mut random = Random(11);
    let mut stopped_ones = 0;
    for case in 0..4_000 {
        let n = random.below(24);
        let bytes: Vec<u8> = (0..n)
            .flat_map(|_| alphabet[random.below(16)])
            .copied()
            .collect();
        let stops: Vec<String> = stop_sets[case % 5].iter().map(|s| s.to_string()).collect();
        let trims = case % 2 == 0;
        let mut pieces = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + random.below(rest.len().min(5)));
            pieces.push(piece);
            rest = after;
        }
        let (text, stopped) = stream_all(&stops, trims, &pieces);
        let whole = String::from_utf8_lossy(&bytes);
        let whole = if trims {
            whole.strip_prefix(' ').unwrap_or(&whole)
        } else {
            &whole
        };
        // The stop string that is complete first; of two, the longer.
        let ends = stops
            .iter()
            .filter(|s| !s.is_empty())
            .filter_map(|s| whole.find(s.as_str()).map(|at| (at + s.len(), at)));
        let expected = ends.min().map_or(whole, |(_, at)| &whole[..at]);
        assert_eq!(text, expected, "case {case}: {pieces:?} with {stops:?}");
        assert_eq!(stopped, expected.len() < whole.len(), "case {case}");
        stopped_ones += usize::from(stopped);
    }
    assert!(stopped_ones > 500, "{stopped_ones}");
}

#[test]
fn only_what_may_begin_a_stop_string_is_held_back() {
    let stops = ["<|im_end|>".to_string(), "\nUser:".to_string()];
    let mut stream = TokenStream::new(&stops, false);
    let steps: [(&[u8], &str); 9] = [
        (b"Hi <", "Hi "),
        (b"b> ", "<b> "),
        (b"\xF0\x9F\x99", ""),
        (b"\x82!", "🙂!"),
        (b"\nUs", ""),
        (b"ed\n", "\nUsed"),
        (b"User", ""),
        (b": no", ""),
        (b"more", ""),
    ];
    for (bytes, text) in steps {
        assert_eq!(stream.push(bytes), text);
    }
    assert!(stream.stopped());
    assert_eq!(stream.finish(), "");
    let mut stream = TokenStream::new(&stops, true);
    assert_eq!(stream.push(b""), "");
    assert_eq!(stream.push(b" Hi <|im"), "Hi ");
    assert_eq!(stream.push(b"\xE2\x82"), "");
    assert_eq!(stream.finish(), "<|im\u{FFFD}");
    assert!(!stream.stopped());
}
