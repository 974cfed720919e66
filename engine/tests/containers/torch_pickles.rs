//! Pickles made to harm, and the sentence that each one gives.

use super::{
    allocations::peak_bytes,
    refuses,
    torch::open,
    torch_files::{Pickle, VIEW, ZipFile},
};
use engine::weights::{source::Source, torch};
use pollster::block_on;

/// Opens a checkpoint of this pickle, which is refused with this sentence.
fn refuses_pickle(case: &str, pickle: impl Into<Vec<u8>>, sentence: &str) {
    let file = ZipFile::checkpoint(pickle).bytes();
    refuses(case, open(file), &["m.bin", "its data.pkl ", sentence]);
}

#[test]
fn a_pickle_calls_nothing() {
    let p = Pickle::new;
    let run = |p: Pickle| p.ops(b"(").text("echo").ops(b"tR.").0;
    let asks = [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("__builtin__", "getattr"),
        ("subprocess", "Popen"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch", "Size"),
        ("torch.FloatStorage", "__reduce__"),
        ("torch", ""),
        ("", ""),
        ("collections", "OrderedDict.fromkeys"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch._utils", "_import_dotted_name"),
    ];
    for (module, name) in asks {
        let sentence = format!("asks for {module}.{name}, which no weight file needs");
        refuses_pickle(name, run(p().global(module, name)), &sentence);
        let texts = p().text(module).text(name).ops(b"\x93");
        refuses_pickle(name, run(texts), &sentence);
    }
    // A name as long as the file is not repeated.
    let long = "x".repeat(1 << 20);
    let file = ZipFile::checkpoint(run(p().global("os", &long))).bytes();
    assert!(open(file).unwrap_err().to_string().len() < 400);
    for (opcode, name) in [
        (&b"i"[..], "INST"),
        (b"o", "OBJ"),
        (b"\x81", "NEWOBJ"),
        (b"\x92", "NEWOBJ_EX"),
        (b"\x82\x01", "EXT"),
        (b"P0\n", "PERSID"),
        (b"2", "DUP"),
        (b"\x98", "READONLY_BUFFER"),
    ] {
        let sentence =
            format!("uses the opcode {name}, which no weight file needs (at its byte 2)");
        refuses_pickle(name, p().ops(opcode).0, &sentence);
    }
    refuses_pickle("opcode", p().ops([0xFF]).0, "has the unknown opcode 0xff");
}

#[test]
fn a_pickle_that_does_not_hold_gives_a_sentence() {
    let p = Pickle::new;
    let ordered = || p().global("collections", "OrderedDict");
    let parameter = || p().global("torch._utils", "_rebuild_parameter");
    let tensor = || p().global("torch._utils", "_rebuild_tensor_v2");
    let made = "takes a value that it did not make";
    let cases = [
        ("empty", vec![], "is not a pickle of protocol 2 to 5"),
        ("protocol 0", b"(dp0\n.".to_vec(), "is not a pickle"),
        ("protocol 6", vec![0x80, 6, b'}', b'.'], "is not a pickle"),
        (
            "no STOP",
            p().ops(b"}").0,
            "ends before it says that it is complete",
        ),
        ("nothing", p().ops(b".").0, made),
        ("below a mark", p().ops(b"}(s.").0, made),
        ("tuple below a mark", p().ops(b"N(\x85.").0, made),
        ("no target", p().ops(b"(NNu.").0, made),
        ("target below a mark", p().ops(b"}((NNu.").0, made),
        (
            "no mark",
            p().ops(b"}t.").0,
            "ends a part that it did not begin",
        ),
        ("half a pair", p().ops(b"}(Nu.").0, "a key without a value"),
        ("items of None", p().ops(b"NNNs.").0, "sets items of None"),
        (
            "append to a dict",
            p().ops(b"}Na.").0,
            "puts items into a dict",
        ),
        (
            "memo gap",
            p().ops(b"}q\x01.").0,
            "remembers a value as number 1 when it has 0",
        ),
        (
            "huge memo",
            p().ops(b"}r\xff\xff\xff\xff.").0,
            "as number 4294967295",
        ),
        ("memo of nothing", p().ops(b"q\x00.").0, made),
        (
            "recall",
            p().ops(b"}q\x00j\x01\0\0\0.").0,
            "recalls the value 1 and has 1",
        ),
        (
            "text length",
            p().ops(b"X\xff\xff\xff\x7fabc").0,
            "ends before",
        ),
        (
            "bytes length",
            p().ops(b"B\xff\xff\xff\xff").0,
            "ends before",
        ),
        ("long length", p().ops(b"\x8a\xff").0, "ends before"),
        (
            "UTF-8",
            p().ops(b"X\x02\0\0\0\xff\xfe.").0,
            "a text that is not UTF-8",
        ),
        ("name without end", p().ops(b"cos").0, "ends within a name"),
        (
            "name of numbers",
            p().ops(b"K\x01K\x02\x93.").0,
            "a name that is no text",
        ),
        ("call of None", p().ops(b"N)R.").0, "calls None"),
        (
            "call with None",
            ordered().ops(b"NR.").0,
            "calls a class or function",
        ),
        (
            "filled dict",
            ordered().ops(b"(]tR.").0,
            "calls OrderedDict with arguments",
        ),
        (
            "called storage",
            p().global("torch", "FloatStorage").ops(b")R.").0,
            "calls FloatStorage",
        ),
        (
            "called dtype",
            p().global("torch", "float32").ops(b")R.").0,
            "calls float32",
        ),
        (
            "parameter of a text",
            parameter().ops(b"(").text("x").ops(b"tR.").0,
            "calls _rebuild_parameter",
        ),
        (
            "tensor of nothing",
            tensor().ops(b")R.").0,
            "calls _rebuild_tensor with arguments",
        ),
        (
            "attributes of None",
            p().ops(b"N}b.").0,
            "sets attributes of None",
        ),
        (
            "attributes of a tensor",
            p().tensor(&VIEW).ops(b"}b.").0,
            "sets attributes of a tensor",
        ),
        (
            "text at the top",
            p().text("x").ops(b".").0,
            "holds a text where a dict of weights",
        ),
        (
            "persistent text",
            p().text("0").ops(b"Q.").0,
            "outside that is no storage",
        ),
        (
            "persistent number",
            p().ops(b"K\x00Q.").0,
            "outside that is no storage",
        ),
        (
            "persistent tuple",
            p().ints(&[1, 2, 3, 4, 5]).ops(b"Q.").0,
            "outside that is no storage",
        ),
        (
            "persistent length",
            p().storage("FloatStorage", "0", -1).ops(b".").0,
            "outside that is no storage",
        ),
        (
            "storage size",
            p().storage("FloatStorage", "0", i64::MAX).ops(b".").0,
            "is impossibly large",
        ),
        (
            "storage class",
            p().storage("float32", "0", 6).ops(b".").0,
            "a storage of the class float32",
        ),
        (
            "storage key",
            p().storage("FloatStorage", &"9".repeat(65), 6).ops(b".").0,
            "refers to a storage '999",
        ),
    ];
    for (case, pickle, sentence) in cases {
        let file = ZipFile::checkpoint(pickle).bytes();
        refuses(case, open(file), &["m.bin", sentence]);
    }
}

/// Opcodes over and over, in a file of a few MB.
fn flood(begin: &[u8], again: &[u8], times: usize, end: &[u8]) -> Vec<u8> {
    [&[0x80, 2][..], begin, &again.repeat(times), end].concat()
}

#[test]
fn bombs_end_soon_and_stay_small() {
    const N: usize = 2_000_000;
    let wait = "values wait, which no weight file does";
    let hold = "holds more than 1048576 values, which no weight file does";
    let made = |p: Pickle| p.0[2..].to_vec();
    let tensor = made(Pickle::new().tensor(&VIEW));
    let long_name = made(Pickle::new().text(&"k".repeat(1 << 20)));
    let function = made(Pickle::new().global("torch._utils", "_rebuild_tensor_v2"));
    let arguments = Pickle::new()
        .ops(b"(")
        .storage("FloatStorage", "0", 6)
        .int(0);
    let arguments = made(arguments.ints(&[6]).ints(&[1]).ops(b"\x89Nt"));
    let views = [&function, &b"q\0"[..], &arguments, b"q\x01]"].concat();
    let names = [&tensor, &b"q\0"[..], &long_name, b"q\x01}("].concat();
    let cases = [
        ("stack", flood(b"", b"N", N, b"."), wait),
        ("marks", flood(b"", b"(", N, b"."), "parts at once"),
        ("nested tuples", flood(b")", b"\x85", N, b"."), hold),
        ("nested lists", flood(b"", b"](", N, b"."), wait),
        ("doubling", flood(b")q\0", b"h\0h\0\x86q\0", N, b"."), wait),
        // Each tuple holds the last one twice: 2^N values if they were written out.
        (
            "doubling in place",
            flood(b")q\0", b"h\0\x86q\0", N, b"."),
            hold,
        ),
        (
            "a dict in itself",
            flood(b"}q\0", b"h\0h\0s", N, b"."),
            hold,
        ),
        ("entries", flood(b"}", b"NNs", N, b"."), hold),
        ("memo", flood(b"}", b"\x94", N, b"."), hold),
        ("views", flood(&views, b"h\0h\x01Ra", N, b"."), hold),
        (
            "one name",
            flood(&names, b"h\x01h\0", 1000, b"u."),
            "two weights named 'kkk",
        ),
    ];
    for (case, pickle, sentence) in cases {
        let file = ZipFile::checkpoint(pickle).bytes();
        let source = Source::memory("m.bin", file);
        let (result, peak) = peak_bytes(|| block_on(torch::open(&source, 0)));
        refuses(case, result, &[sentence]);
        assert!(peak < 128 << 20, "{case}: {peak} bytes");
    }
}
