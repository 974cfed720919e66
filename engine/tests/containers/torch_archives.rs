//! PyTorch files whose tensors lie elsewhere than in their storages, and archives that do not hold.

use super::{
    refuses,
    torch::open,
    torch_files::{Entry, Pickle, VIEW, View, ZipFile},
};

#[test]
fn a_tensor_stays_in_its_storage() {
    let huge = i64::MAX;
    let cases = [
        (
            "offset below 0",
            View { offset: -1, ..VIEW },
            "a tensor at the offset -1",
        ),
        (
            "offset",
            View { offset: 1, ..VIEW },
            "'w' needs bytes 4..28 of its storage '0', which has 24",
        ),
        (
            "huge offset",
            View {
                offset: huge,
                ..VIEW
            },
            "the shape or offset of the weight 'w' is impossibly large",
        ),
        (
            "size below 0",
            View {
                shape: &[-2, 3],
                ..VIEW
            },
            "a tensor with -2 among its shape",
        ),
        (
            "stride below 0",
            View {
                strides: &[-3, 1],
                ..VIEW
            },
            "a tensor with -3 among its shape and strides",
        ),
        (
            "shape",
            View {
                shape: &[3, 3],
                ..VIEW
            },
            "'w' needs bytes 0..36 of its storage",
        ),
        (
            "huge shape",
            View {
                shape: &[huge, huge],
                strides: &[huge, 1],
                ..VIEW
            },
            "the shape or offset of the weight 'w' is impossibly large",
        ),
        (
            "large shape",
            View {
                shape: &[huge],
                strides: &[1],
                ..VIEW
            },
            "the weight 'w' is impossibly large",
        ),
        (
            "strides",
            View {
                strides: &[1, 2],
                ..VIEW
            },
            "'w' of shape [2, 3] lies with strides [1, 2]",
        ),
        (
            "repeated row",
            View {
                strides: &[0, 1],
                ..VIEW
            },
            "lies with strides [0, 1]",
        ),
        (
            "dimensions",
            View {
                strides: &[1],
                ..VIEW
            },
            "2 dimensions with 1 strides",
        ),
        (
            "many dimensions",
            View {
                shape: &[1; 9],
                strides: &[1; 9],
                ..VIEW
            },
            "9 dimensions, and 8 are the limit",
        ),
        (
            "storage length",
            View { n: 7, ..VIEW },
            "the storage '0' of the weight 'w' has 24 bytes, and data.pkl speaks of 28",
        ),
        (
            "storage format",
            View {
                class: "HalfStorage",
                ..VIEW
            },
            "has 24 bytes, and data.pkl speaks of 12",
        ),
        (
            "no entry",
            View { key: "1", ..VIEW },
            "'w' needs the entry 'm/data/1', which is not in the archive",
        ),
        (
            "outside",
            View {
                key: "../byteorder",
                ..VIEW
            },
            "needs the entry 'm/data/../byteorder', which is not",
        ),
    ];
    for (case, view, sentence) in cases {
        let file = ZipFile::checkpoint(Pickle::new().weight(&view)).bytes();
        refuses(case, open(file), &["m.bin", sentence]);
    }
    let twice = Pickle::new().ops(b"}(").text("w").tensor(&VIEW);
    let twice = twice.text("w").tensor(&VIEW).ops(b"u.").0;
    let number = Pickle::new().ops(b"}K\x01").tensor(&VIEW).ops(b"s.").0;
    let untyped = Pickle::new()
        .global("torch._utils", "_rebuild_tensor_v2")
        .ops(b"((");
    let untyped = untyped
        .text("storage")
        .global("torch.storage", "UntypedStorage")
        .text("0");
    let untyped = untyped
        .text("cpu")
        .int(24)
        .ops(b"tQ")
        .int(0)
        .ints(&[6])
        .ints(&[1]);
    for (case, pickle, sentence) in [
        ("twice", twice, "it holds two weights named 'w'"),
        ("named 1", number, "a weight has a number as its name"),
        (
            "untyped",
            untyped.ops(b"\x89NtR.").0,
            "a storage of another kind",
        ),
        (
            "empty",
            Pickle::new().ops(b"}.").0,
            "nor in one under state_dict, model, module; it is empty",
        ),
    ] {
        refuses(case, open(ZipFile::checkpoint(pickle).bytes()), &[sentence]);
    }
}

#[test]
fn an_archive_that_does_not_hold_gives_a_sentence() {
    let zip = ZipFile::checkpoint(Pickle::new().weight(&VIEW));
    let len = zip.bytes().len() as u64;
    let cut = |n: usize| {
        let bytes = zip.bytes();
        bytes[..bytes.len() - n].to_vec()
    };
    let data = |change: fn(&mut Entry)| zip.clone().change("m/data/0", change).bytes();
    let end = |end| ZipFile { end, ..zip.clone() }.bytes();
    let end64 = |said| {
        ZipFile {
            zip64: Some(said),
            ..zip.clone()
        }
        .bytes()
    };
    let big = |e: &mut Entry| e.bytes = b"big".to_vec();
    let compressed = "'m/data/0' is compressed or encrypted";
    let outside = "'m/data/0' lies outside of the file";
    let moved = "'m/data/0' is not where the zip directory says";
    let incomplete = "are not the end of a zip archive: the download is incomplete";
    let cases = [
        ("empty", vec![], "begins with \"PK\", this file with \"\""),
        (
            "page",
            b"<!DOCTYPE html><html>".to_vec(),
            "it is a web page",
        ),
        (
            "gguf",
            b"GGUF\x03\0\0\0".to_vec(),
            "begins with \"PK\", this file with \"GGUF\"",
        ),
        ("magic only", b"PK\x03\x04".to_vec(), incomplete),
        ("cut", cut(1), incomplete),
        ("cut in half", cut(len as usize / 2), incomplete),
        ("comment", [zip.bytes(), vec![0]].concat(), incomplete),
        (
            "directory outside",
            end([Some(len), None, None]),
            "its zip directory of",
        ),
        (
            "directory size",
            end([None, Some(u64::from(u32::MAX)), None]),
            "its zip directory of 4294967295 bytes",
        ),
        (
            "more entries",
            end([None, None, Some(4)]),
            "its zip directory of 4 entries",
        ),
        (
            "many entries",
            end([None, None, Some(65_535)]),
            "its zip directory of 65535 entries",
        ),
        (
            "not the directory",
            end([Some(1), None, None]),
            "the entry 0 of its zip directory is damaged",
        ),
        (
            "64: directory",
            end64([Some(u64::MAX), None, None]),
            "its zip directory of",
        ),
        (
            "64: size",
            end64([None, Some(u64::MAX), None]),
            "its zip directory of 18446744073709551615 bytes",
        ),
        (
            "64: entries",
            end64([None, None, Some(u64::MAX)]),
            "18446744073709551615 entries",
        ),
        ("deflated", data(|e| e.method = 8), compressed),
        ("encrypted", data(|e| e.flags |= 1), compressed),
        (
            "packed size",
            data(|e| e.packed_bytes = Some(3)),
            compressed,
        ),
        ("offset", data(|e| e.offset = Some(u32::MAX)), outside),
        (
            "size",
            data(|e| (e.n_bytes, e.packed_bytes) = (Some(1 << 31), Some(1 << 31))),
            outside,
        ),
        (
            "in the directory",
            data(|e| (e.n_bytes, e.packed_bytes) = (Some(40), Some(40))),
            outside,
        ),
        ("another place", data(|e| e.offset = Some(1)), moved),
        ("another entry", data(|e| e.offset = Some(0)), moved),
        (
            "another name",
            data(|e| e.local_name = Some("m/data/1".into())),
            moved,
        ),
        (
            "shorter name",
            data(|e| e.local_name = Some("m/data".into())),
            moved,
        ),
        (
            "extra",
            data(|e| e.extra = vec![1, 0, 99, 0]),
            "the entry 2 of its zip directory is damaged",
        ),
        (
            "name twice",
            zip.clone().entry("m/data/0", "x").bytes(),
            "its entry 'm/data/0' is there twice",
        ),
        (
            "two checkpoints",
            zip.clone().entry("n/data.pkl", "x").bytes(),
            "two checkpoints, 'm' and 'n'",
        ),
        (
            "no pickle",
            zip.clone()
                .change("m/data.pkl", |e| e.name = "m/data.pkc".into())
                .bytes(),
            "without a data.pkl",
        ),
        (
            "big-endian",
            zip.clone().change("m/byteorder", big).bytes(),
            "its numbers are \"big\"-endian",
        ),
        (
            "long byteorder",
            zip.clone()
                .change("m/byteorder", |e| e.bytes = vec![b' '; 17])
                .bytes(),
            "has 17 bytes, and 16 are the limit",
        ),
    ];
    for (case, bytes, sentence) in cases {
        refuses(case, open(bytes), &["m.bin", sentence]);
    }
    let bytes = zip.bytes();
    for n in 0..bytes.len() {
        refuses(&format!("cut at {n}"), open(bytes[..n].to_vec()), &[]);
    }
}
