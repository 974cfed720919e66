//! GGUF headers.

use super::{
    files::{GgufFile, string},
    refuses,
};
use engine::{
    Error,
    weights::{
        Dtype, Tensor,
        gguf::{self, Gguf},
        metadata::{Metadata, Value},
        source::Source,
    },
};
use pollster::block_on;

pub fn open(bytes: Vec<u8>) -> Result<Gguf, Error> {
    block_on(gguf::open(&Source::memory("m.gguf", bytes), 3))
}

/// One file with every kind of value and of known tensor.
pub fn good() -> GgufFile {
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
        let bytes = GgufFile { version, ..good() }.bytes();
        let n = bytes.len() as u64;
        let gguf = open(bytes.clone()).unwrap();
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
    let m: Metadata = open(good().bytes()).unwrap().metadata;
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
        refuses(case, open(bytes), &["m.gguf", sentence]);
    }
    assert_eq!(string("ab"), [2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b']);
}

#[test]
fn a_cut_gguf_is_refused_wherever_it_is_cut() {
    let bytes = good().bytes();
    for n in 0..bytes.len() {
        let error = open(bytes[..n].to_vec()).expect_err("cut");
        assert!(
            matches!(error, Error::BadHeader { .. }),
            "cut at {n}: {error}"
        );
    }
}
