//! safetensors headers and indices of shards.

use super::{files::safetensors as file, refuses};
use engine::{
    Error,
    weights::{
        Dtype,
        safetensors::{self, Header},
        source::Source,
    },
};
use pollster::block_on;

pub fn open(bytes: Vec<u8>) -> Result<Header, Error> {
    block_on(safetensors::open(
        &Source::memory("m.safetensors", bytes),
        0,
    ))
}

pub fn good() -> Vec<u8> {
    file(HEADER, 30)
}

pub const HEADER: &str = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"c":{"dtype":"I64","shape":[],"data_offsets":[22,30]}}"#;

#[test]
fn a_good_safetensors_gives_tensors() {
    let header = open(good()).unwrap();
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
    let one = |body: &str, n| file(&format!(r#"{{"w":{{{body}}}}}"#), n);
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
            file(HEADER, 0)[..20].to_vec(),
            "the file ends at byte 20, and its header needs bytes up to",
        ),
        (
            "json",
            file("{\"w\":", 0),
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
        refuses(case, open(bytes), &["m.safetensors", sentence]);
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
