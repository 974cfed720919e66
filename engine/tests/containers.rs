//! GGUF and safetensors headers: what good files give, and the sentence that each bad one gives.

#[path = "common/containers.rs"]
mod containers;

use std::path::Path;

use containers::{GgufFile, Random, safetensors as safetensors_file, string};
use engine::{
    Error,
    weights::{
        Dtype, Tensor,
        gguf::{self, Gguf},
        metadata::{Metadata, Value},
        safetensors,
        source::Source,
    },
};
use pollster::block_on;

fn open_gguf(bytes: Vec<u8>) -> Result<Gguf, Error> {
    block_on(gguf::open(&Source::memory("m.gguf", bytes), 3))
}

fn open_safetensors(bytes: Vec<u8>) -> Result<safetensors::Header, Error> {
    block_on(safetensors::open(
        &Source::memory("m.safetensors", bytes),
        0,
    ))
}

/// One file with every kind of value and of known tensor.
fn good_gguf() -> GgufFile {
    GgufFile::new()
        .str("general.architecture", "llama")
        .entry("a.u8", 0, [200])
        .entry("a.i8", 1, [200])
        .entry("a.u16", 2, 50_000u16.to_le_bytes())
        .entry("a.i16", 3, (-2i16).to_le_bytes())
        .entry("a.u32", 4, 4_000_000_000u32.to_le_bytes())
        .entry("a.i32", 5, (-7i32).to_le_bytes())
        .entry("a.f32", 6, 1.5f32.to_le_bytes())
        .entry("a.bool", 7, [1])
        .entry("a.u64", 10, u64::MAX.to_le_bytes())
        .entry("a.i64", 11, i64::MIN.to_le_bytes())
        .entry("a.f64", 12, 0.1f64.to_le_bytes())
        .strings("b.strings", &["", "Ġ t", "é"])
        .array("b.i32", 5, 2, [1, 0, 0, 0, 255, 255, 255, 255])
        .array("b.u8", 0, 3, [1, 2, 255])
        .array("b.f32", 6, 1, 2.5f32.to_le_bytes())
        .tensor("a", &[4, 2], 0, 0)
        .tensor("b", &[32, 3], 3, 32)
        .tensor("c", &[5], 30, 96)
        .tensor("d", &[256, 2], 14, 128)
        .tensor("e", &[64], 8, 544)
        .data(612)
}

#[test]
fn a_good_gguf_gives_settings_and_tensors() {
    for version in [2, 3] {
        let bytes = GgufFile {
            version,
            ..good_gguf()
        }
        .bytes();
        let n = bytes.len() as u64;
        let gguf = open_gguf(bytes.clone()).unwrap();
        assert_eq!(gguf.version, version);
        let m = &gguf.metadata;
        assert_eq!(m.str("general.architecture").unwrap(), "llama");
        let values = [
            ("a.u8", Value::Uint(200)),
            ("a.i8", Value::Int(-56)),
            ("a.u16", Value::Uint(50_000)),
            ("a.i16", Value::Int(-2)),
            ("a.u32", Value::Uint(4_000_000_000)),
            ("a.i32", Value::Int(-7)),
            ("a.f32", Value::Float(1.5)),
            ("a.bool", Value::Bool(true)),
            ("a.u64", Value::Uint(u64::MAX)),
            ("a.i64", Value::Int(i64::MIN)),
            ("a.f64", Value::Float(0.1)),
            (
                "b.strings",
                Value::Strings(vec!["".into(), "Ġ t".into(), "é".into()]),
            ),
            ("b.i32", Value::Ints(vec![1, -1])),
            ("b.u8", Value::Bytes(vec![1, 2, 255])),
            ("b.f32", Value::Floats(vec![2.5])),
        ];
        for (key, value) in values {
            assert_eq!(m.get(key), Some(&value), "{key}");
        }
        let start = n - 612;
        let tensor =
            |name: &str, dtype: Result<Dtype, &str>, shape: &[usize], from: u64, to: u64| Tensor {
                name: name.into(),
                dtype: dtype.map_err(String::from),
                shape: shape.to_vec(),
                file: 3,
                range: start + from..start + to,
            };
        assert_eq!(start % 32, 0);
        let expected = [
            tensor("a", Ok(Dtype::F32), &[2, 4], 0, 32),
            tensor("b", Ok(Dtype::Q4_1), &[3, 32], 32, 92),
            tensor("c", Ok(Dtype::Bf16), &[5], 96, 106),
            // Of an unknown format only the beginning is known.
            tensor("d", Err("Q6_K"), &[2, 256], 128, 544),
            tensor("e", Ok(Dtype::Q8_0), &[64], 544, 612),
        ];
        assert_eq!(gguf.tensors, expected);
        let b = block_on(Source::memory("m", bytes).read(gguf.tensors[1].range.clone())).unwrap();
        assert_eq!(b, (32..92).collect::<Vec<u8>>());
    }
}

#[test]
fn getters_name_the_key_and_what_is_wrong() {
    let m: Metadata = open_gguf(good_gguf().bytes()).unwrap().metadata;
    assert_eq!(m.usize("a.u16").unwrap(), 50_000);
    assert_eq!(m.f32("a.i32").unwrap(), -7.0);
    assert_eq!(m.optional("absent", Metadata::bool).unwrap(), None);
    assert_eq!(m.optional("a.bool", Metadata::bool).unwrap(), Some(true));
    let cases = [
        (
            m.usize("a.i32").map(drop),
            "'a.i32' is Int(-7), which is out of range",
        ),
        (
            m.u32("a.u64").map(drop),
            "'a.u64' is 18446744073709551615, which is out of range",
        ),
        (
            m.usize("a.f32").map(drop),
            "'a.f32' must be a whole number and is a number",
        ),
        (m.str("absent").map(drop), "'absent' is missing"),
        (
            m.ints("b.strings").map(drop),
            "'b.strings' must be an array of whole numbers and is an array of texts",
        ),
        (
            m.strings("a.bool").map(drop),
            "'a.bool' must be an array of texts and is a bool",
        ),
    ];
    for (got, sentence) in cases {
        let expected = format!("the model's settings in m.gguf cannot be used: {sentence}");
        assert_eq!(got.unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_bad_gguf_gives_a_sentence() {
    let f = GgufFile::new;
    let huge = u64::MAX.to_le_bytes();
    let f32s = |dims: &[u64], offset| f().tensor("w", dims, 0, offset).data(64);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "begins with 'GGUF', this one with \"\""),
        (
            "magic",
            GgufFile {
                magic: *b"GGML",
                ..f()
            }
            .bytes(),
            "begins with 'GGUF', this one with \"GGML\"",
        ),
        (
            "page",
            b"<!DOCTYPE html><html>".to_vec(),
            "it is a web page",
        ),
        (
            "lfs",
            b"version https://git-lfs.github.com/spec/v1\n".to_vec(),
            "it is a Git LFS pointer",
        ),
        (
            "magic only",
            b"GGUF".to_vec(),
            "the file ends at byte 4, and the version at byte 4 needs 4 bytes: the download is incomplete",
        ),
        (
            "version 1",
            GgufFile { version: 1, ..f() }.bytes(),
            "GGUF version 1, and versions 2 and 3 are read",
        ),
        (
            "version 9",
            GgufFile { version: 9, ..f() }.bytes(),
            "GGUF version 9, and versions 2 and 3 are read",
        ),
        (
            "big-endian",
            GgufFile {
                version: 3 << 24,
                ..f()
            }
            .bytes(),
            "its numbers are big-endian",
        ),
        (
            "weights",
            GgufFile {
                n_tensors: Some(1 << 60),
                ..f()
            }
            .bytes(),
            "the number of weights counts 1152921504606846976 items at byte 8, and only 8 bytes are left",
        ),
        (
            "settings",
            GgufFile {
                n_entries: Some(u64::MAX),
                ..f()
            }
            .bytes(),
            "the number of settings counts 18446744073709551615 items at byte 16",
        ),
        (
            "key",
            GgufFile {
                n_entries: Some(1),
                ..f()
            }
            .entry("k", 8, huge)
            .bytes(),
            "the value of 'k' counts 18446744073709551615 items",
        ),
        (
            "array",
            f().array("k", 10, 1 << 61, []).bytes(),
            "the array 'k' counts 2305843009213693952 items",
        ),
        (
            "strings",
            f().array("k", 8, 1 << 40, []).bytes(),
            "the array 'k' counts 1099511627776 items",
        ),
        (
            "nested",
            f().array("k", 9, 1, []).bytes(),
            "the array 'k' has elements of type 9",
        ),
        (
            "type",
            f().entry("k", 13, []).bytes(),
            "'k' has a value of the unknown type 13",
        ),
        (
            "utf-8",
            f().entry("k", 8, [1, 0, 0, 0, 0, 0, 0, 0, 0xFF]).bytes(),
            "the value of 'k' before byte 46 is not UTF-8",
        ),
        (
            "number",
            f().array("k", 10, 1, huge).bytes(),
            "the array 'k' has a number beyond 2^63",
        ),
        (
            "twice",
            f().str("k", "").str("k", "").bytes(),
            "the setting 'k' is there twice",
        ),
        (
            "alignment",
            f().entry("general.alignment", 4, 33u32.to_le_bytes())
                .bytes(),
            "general.alignment is 33",
        ),
        (
            "alignment 0",
            f().entry("general.alignment", 4, [0; 4]).bytes(),
            "general.alignment is 0",
        ),
        (
            "dimensions",
            f().tensor("w", &[1; 5], 0, 0).bytes(),
            "the weight 'w' has 5 dimensions, and GGML knows up to 4",
        ),
        (
            "dimension 0",
            f32s(&[4, 0], 0).bytes(),
            "the weight 'w' has an impossible dimension",
        ),
        (
            "shape",
            f32s(&[1 << 31, 1 << 31, 1 << 31], 0).bytes(),
            "of the weight 'w' is impossibly large",
        ),
        (
            "size",
            f32s(&[1 << 31, 1 << 31], 0).bytes(),
            "of the weight 'w' is impossibly large",
        ),
        (
            "truncated",
            f32s(&[17], 0).bytes(),
            "the file ends at byte 128, and the weight 'w' needs bytes up to 132: the download is incomplete",
        ),
        (
            "outside",
            f32s(&[1], 1 << 40).bytes(),
            "and the weight 'w' needs bytes up to 1099511627844: the download is incomplete",
        ),
        (
            "overflow",
            f32s(&[1], u64::MAX - 31).bytes(),
            "the weight 'w' needs bytes up to 18446744073709551615",
        ),
        (
            "unknown outside",
            f().tensor("w", &[256], 12, 1 << 40).data(64).bytes(),
            "the weight 'w' needs bytes up to 1099511627840",
        ),
        (
            "offset",
            f32s(&[1], 4).bytes(),
            "the weight 'w' is at offset 4, which is not a multiple of 32",
        ),
        (
            "row",
            f().tensor("w", &[48, 2], 3, 0).data(64).bytes(),
            "the weight 'w' is stored as Q4_1 with rows of 48, which is not a multiple of 32",
        ),
        (
            "name twice",
            f().tensor("w", &[1], 0, 0)
                .tensor("w", &[1], 0, 32)
                .data(64)
                .bytes(),
            "the weight 'w' is there twice",
        ),
        (
            "overlap",
            f().tensor("v", &[16], 0, 0)
                .tensor("w", &[1], 0, 32)
                .data(64)
                .bytes(),
            "the weights 'v' and 'w' lie on the same bytes",
        ),
        (
            "name",
            f().tensor("", &[1], 0, 0).bytes()[..26].to_vec(),
            "the number of weights counts 1 items",
        ),
    ];
    for (case, bytes, sentence) in cases {
        let error = open_gguf(bytes).expect_err(case);
        let text = error.to_string();
        assert!(matches!(error, Error::BadHeader { .. }), "{case}: {text}");
        assert!(
            text.contains(sentence) && text.contains("m.gguf"),
            "{case}: {text}"
        );
    }
    assert_eq!(string("ab"), [2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b']);
}

#[test]
fn a_cut_gguf_is_refused_wherever_it_is_cut() {
    let bytes = good_gguf().bytes();
    for n in 0..bytes.len() {
        let error = open_gguf(bytes[..n].to_vec()).expect_err("cut");
        assert!(
            matches!(error, Error::BadHeader { .. }),
            "cut at {n}: {error}"
        );
    }
}

const HEADER: &str = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"c":{"dtype":"I64","shape":[],"data_offsets":[22,30]}}"#;

#[test]
fn a_good_safetensors_gives_tensors() {
    let header = open_safetensors(safetensors_file(HEADER, 30)).unwrap();
    let start = 8 + HEADER.len() as u64;
    assert_eq!(header.metadata["format"], "pt");
    let tensors: Vec<_> = header
        .tensors
        .iter()
        .map(|t| {
            (
                t.name.as_str(),
                t.dtype.clone(),
                t.shape.clone(),
                t.range.clone(),
            )
        })
        .collect();
    let expected = [
        ("a", Ok(Dtype::F32), vec![2, 2], start..start + 16),
        ("b", Ok(Dtype::Bf16), vec![3], start + 16..start + 22),
        ("c", Err("I64".to_string()), vec![], start + 22..start + 30),
    ];
    assert_eq!(tensors, expected);
}

#[test]
fn a_bad_safetensors_gives_a_sentence() {
    let one = |body: &str, n| safetensors_file(&format!(r#"{{"w":{{{body}}}}}"#), n);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "empty",
            vec![],
            "it has 0 bytes, and a safetensors file at least 8",
        ),
        ("page", b"<!doctype html>".to_vec(), "it is a web page"),
        (
            "length",
            vec![0xFF; 8],
            "its first 8 bytes say that the header has 18446744073709551615 bytes",
        ),
        (
            "header cut",
            safetensors_file(HEADER, 0)[..20].to_vec(),
            "the file ends at byte 20, and its header needs bytes up to",
        ),
        (
            "json",
            safetensors_file("{\"w\":", 0),
            "its header does not hold: EOF while parsing",
        ),
        (
            "no dtype",
            one(r#""shape":[1],"data_offsets":[0,4]"#, 4),
            "its header does not hold",
        ),
        (
            "unknown dtype",
            one(r#""dtype":"X9","shape":[1],"data_offsets":[0,4]"#, 4),
            "unknown variant `X9`",
        ),
        (
            "negative",
            one(r#""dtype":"F32","shape":[-1],"data_offsets":[0,4]"#, 4),
            "its header does not hold",
        ),
        (
            "shape",
            one(r#""dtype":"F32","shape":[2],"data_offsets":[0,4]"#, 4),
            "its header does not hold",
        ),
        (
            "overflow",
            one(
                r#""dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,4]"#,
                4,
            ),
            "its header does not hold",
        ),
        (
            "backwards",
            one(r#""dtype":"F32","shape":[1],"data_offsets":[4,0]"#, 4),
            "its header does not hold",
        ),
        (
            "hole",
            one(r#""dtype":"F32","shape":[1],"data_offsets":[4,8]"#, 8),
            "its header does not hold",
        ),
        (
            "truncated",
            one(r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#, 4),
            "and the weight 'w' needs bytes up to 70: the download is incomplete",
        ),
        (
            "longer",
            one(r#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#, 9),
            "its weights end at byte 66, and the file goes on to byte 71",
        ),
    ];
    for (case, bytes, sentence) in cases {
        let error = open_safetensors(bytes).expect_err(case);
        let text = error.to_string();
        assert!(matches!(error, Error::BadHeader { .. }), "{case}: {text}");
        assert!(
            text.contains(sentence) && text.contains("m.safetensors"),
            "{case}: {text}"
        );
    }
}

#[test]
fn an_index_names_its_shards_once_and_nothing_outside_its_folder() {
    let json = br#"{"metadata":{"total_size":9},"weight_map":{"z":"m-1.safetensors","a":"m-2.safetensors","b":"m-1.safetensors"}}"#;
    let index = safetensors::index("i.json", json).unwrap();
    assert_eq!(index.shards(), ["m-1.safetensors", "m-2.safetensors"]);
    assert_eq!(index.weight_map["a"], "m-2.safetensors");
    let bad_names = [
        "../x.safetensors",
        "/x.safetensors",
        "a/b.safetensors",
        "C:x.safetensors",
        "..\\\\x.safetensors",
        ".safetensors",
        "x.bin",
        "http://h/x.safetensors",
        "%2e.safetensors",
        "",
    ];
    for name in bad_names {
        let json = format!(r#"{{"weight_map":{{"a":"{name}"}}}}"#);
        let error = safetensors::index("i.json", json.as_bytes())
            .expect_err(name)
            .to_string();
        assert!(
            error.contains("which is not a .safetensors file beside it"),
            "{name}: {error}"
        );
    }
    for json in [
        "",
        "[]",
        "{}",
        r#"{"weight_map":{}}"#,
        r#"{"weight_map":{"a":1}}"#,
    ] {
        let error = safetensors::index("i.json", json.as_bytes())
            .expect_err(json)
            .to_string();
        assert!(
            error.contains("i.json is not a readable model file: the index of shards"),
            "{json}: {error}"
        );
    }
}

/// Address space that the process ever had, in KiB; nothing where the system does not tell.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmPeak:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn damaged_headers_never_panic_and_never_ask_for_much_memory() {
    let gguf = good_gguf().bytes();
    let st = safetensors_file(HEADER, 30);
    let mut random = Random(7);
    let before = peak_kib();
    let (mut opened, mut refused) = (0, 0);
    for case in 0..6_000 {
        let mut bytes = if case % 3 == 0 {
            st.clone()
        } else {
            gguf.clone()
        };
        for _ in 0..=random.below(3) {
            damage(&mut bytes, &mut random);
        }
        let ok = match case % 3 {
            0 => open_safetensors(bytes).is_ok(),
            _ => open_gguf(bytes).is_ok(),
        };
        if ok { opened += 1 } else { refused += 1 }
    }
    assert!(
        opened > 200 && refused > 2_000,
        "{opened} opened, {refused} refused"
    );
    if let (Some(before), Some(after)) = (before, peak_kib()) {
        assert!(after - before < 128 << 10, "{} KiB more", after - before);
    }
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.len() < 16 {
        return;
    }
    let at = random.below(bytes.len());
    match random.below(5) {
        0 => bytes.truncate(at),
        1 => bytes[at] ^= 1 << random.below(8),
        2 => bytes[at] = random.next() as u8,
        3 => {
            let at = at.min(bytes.len() - 8);
            let huge = u64::MAX >> random.below(64);
            bytes[at..at + 8].copy_from_slice(&huge.to_le_bytes());
        }
        _ => {
            bytes.remove(at);
        }
    }
}

#[test]
fn a_source_says_what_cannot_be_read() {
    let memory = Source::memory("m", vec![1, 2, 3]);
    assert_eq!(block_on(memory.read(1..3)).unwrap(), [2, 3]);
    assert!(block_on(memory.read(3..3)).unwrap().is_empty());
    let sentence = |range| block_on(memory.read(range)).unwrap_err().to_string();
    assert_eq!(
        sentence(2..4),
        "reading m failed: bytes 2..4 were asked for, and the file ends at byte 3"
    );
    #[expect(clippy::reversed_empty_ranges, reason = "a caller's mistake")]
    let backwards = sentence(2..1);
    assert_eq!(
        backwards,
        "reading m failed: bytes 2..1 were asked for, and the file ends at byte 3"
    );
    assert!(Source::open("no/such/file.gguf").is_err_and(|e| {
        e.to_string()
            .starts_with("reading no/such/file.gguf failed: ")
    }));
    assert!(Source::open(env!("CARGO_MANIFEST_DIR")).is_err());
}

#[test]
fn a_file_that_shrinks_is_noticed() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shrinks.bin");
    std::fs::write(&path, [7; 100]).unwrap();
    let source = Source::open(&path).unwrap();
    assert_eq!((source.name(), source.len()), ("shrinks.bin", 100));
    assert_eq!(block_on(source.read(90..100)).unwrap(), [7; 10]);
    std::fs::write(&path, [7; 95]).unwrap();
    let error = block_on(source.read(90..100)).unwrap_err().to_string();
    assert!(error.contains("of bytes 90..100 only 5 came"), "{error}");
}

#[test]
fn the_tiny_models_of_this_repository_open() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let source = Source::open(models.join("tiny-llama-gguf/tiny-q4_1.gguf")).unwrap();
    let gguf = block_on(gguf::open(&source, 0)).unwrap();
    assert_eq!(gguf.metadata.str("general.architecture").unwrap(), "llama");
    assert!(gguf.tensors.iter().any(|t| t.dtype == Ok(Dtype::Q4_1)));
    let folder = models.join("tiny-llama-sharded");
    let json = std::fs::read(folder.join("model.safetensors.index.json")).unwrap();
    let index = safetensors::index("model.safetensors.index.json", &json).unwrap();
    assert_eq!(index.shards().len(), 2);
    for (file, name) in index.shards().iter().enumerate() {
        let source = Source::open(folder.join(name)).unwrap();
        let header = block_on(safetensors::open(&source, file)).unwrap();
        for tensor in header.tensors {
            assert_eq!(&index.weight_map[&tensor.name], name, "{}", tensor.name);
        }
    }
}
