//! What PyTorch writes (tools/torch_files.py), and damaged files of it.

use super::{
    allocations::peak_bytes,
    damage,
    files::Random,
    memory_limit,
    models::{Sequence, load_files, path, sequences, sources},
    refuses,
    torch_files::{Pickle, VIEW, View, ZipFile},
};
use engine::{
    Arithmetic, BackendChoice, CpuOptions, Error, LoadOptions, Sampling,
    checkpoint::Checkpoint,
    weights::{
        Dtype, Tensor,
        source::Source,
        torch::{self, Header},
    },
};
use pollster::block_on;
use std::ops::Range;

pub fn open(bytes: Vec<u8>) -> Result<Header, Error> {
    block_on(torch::open(&Source::memory("m.bin", bytes), 5))
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(path("engine/tests/torch").join(name)).unwrap()
}

/// A tensor of the file and its bytes as f32.
fn numbers<'h>(header: &'h Header, bytes: &[u8], name: &str) -> (&'h Tensor, Vec<f32>) {
    let tensor = header.tensors.iter().find(|t| t.name == name).unwrap();
    assert_eq!((&tensor.dtype, tensor.file), (&Ok(Dtype::F32), 5), "{name}");
    let data = &bytes[tensor.range.start as usize..tensor.range.end as usize];
    let (numbers, []) = data.as_chunks::<4>() else {
        panic!("{name} has {} bytes", data.len());
    };
    (
        tensor,
        numbers.iter().copied().map(f32::from_le_bytes).collect(),
    )
}

/// Checks that a tensor has this shape and that its numbers are those of the range.
fn check_count(header: &Header, bytes: &[u8], name: &str, shape: &[usize], count: Range<u8>) {
    let (tensor, numbers) = numbers(header, bytes, name);
    assert_eq!(tensor.shape, shape, "{name}");
    let expected: Vec<f32> = count.map(f32::from).collect();
    assert_eq!(numbers, expected, "{name}");
}

#[test]
fn a_training_checkpoint_gives_its_state_dict_in_every_protocol() {
    for name in ["nested.pt", "protocol3.pt", "protocol4.pt", "protocol5.pt"] {
        let bytes = file(name);
        let header = open(bytes.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(header.tensors.len(), 4, "{name}");
        check_count(&header, &bytes, "0.weight", &[2, 3], 0..6);
        check_count(&header, &bytes, "0.bias", &[2], 0..2);
        check_count(&header, &bytes, "1.weight", &[2], 0..2);
        check_count(&header, &bytes, "1.bias", &[2], 0..2);
        let plain: Vec<(&str, &str)> = header
            .metadata
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        let expected = [
            ("delta", "-70000"),
            ("done", "false"),
            ("epoch", "3"),
            ("loss", "-1.5"),
            ("name", "näive"),
            ("seed", "1099511627776"),
            ("weights", "under 'state_dict'"),
        ];
        assert_eq!(plain, expected, "{name}");
    }
}

#[test]
fn parameters_and_views_are_tensors() {
    let bytes = file("parameters.pt");
    let header = open(bytes.clone()).unwrap();
    assert_eq!(header.tensors.len(), 4);
    check_count(&header, &bytes, "0.weight", &[2, 3], 0..6);

    let bytes = file("tied.pt");
    let header = open(bytes.clone()).unwrap();
    check_count(&header, &bytes, "embed", &[4, 6], 0..24);
    check_count(&header, &bytes, "rows", &[2, 6], 6..18);
    check_count(&header, &bytes, "row", &[6], 12..18);
    check_count(&header, &bytes, "column", &[1, 5], 0..5);
    check_count(&header, &bytes, "empty", &[0, 3], 0..0);
    check_count(&header, &bytes, "cube", &[2, 3, 4], 0..24);
    let (scalar, value) = numbers(&header, &bytes, "scalar");
    assert_eq!((scalar.shape.len(), value), (0, vec![2.5]));
    let (embed, _) = numbers(&header, &bytes, "embed");
    let (head, _) = numbers(&header, &bytes, "head");
    assert_eq!(embed.range, head.range, "tied weights have the same bytes");
    let starts = header.tensors.iter().map(|t| t.range.start);
    assert!(starts.is_sorted(), "in the order of their bytes");
}

#[test]
fn every_number_format_is_known_or_named() {
    let header = open(file("formats.pt")).unwrap();
    assert_eq!(header.tensors.len(), 18);
    for tensor in &header.tensors {
        let (dtype, n_bytes) = match tensor.name.as_str() {
            "float32" => (Ok(Dtype::F32), 4),
            "float16" => (Ok(Dtype::F16), 2),
            "bfloat16" => (Ok(Dtype::Bf16), 2),
            name => {
                let bytes = match name {
                    "complex128" => 16,
                    "float64" | "int64" | "uint64" | "complex64" => 8,
                    "int32" | "uint32" | "complex32" => 4,
                    "int16" | "uint16" => 2,
                    _ => 1,
                };
                (Err(name.to_string()), bytes)
            }
        };
        assert_eq!(tensor.dtype, dtype);
        let range = &tensor.range;
        assert_eq!(range.end - range.start, 3 * n_bytes, "{}", tensor.name);
    }
}

#[test]
fn a_large_dict_comes_in_pieces() {
    let bytes = file("many.pt");
    let header = open(bytes.clone()).unwrap();
    assert_eq!(header.tensors.len(), 3);
    check_count(&header, &bytes, "first", &[2], 0..2);
    check_count(&header, &bytes, "second", &[3], 0..3);
}

#[test]
fn what_pytorch_writes_and_no_model_is_gets_a_sentence() {
    let cases: [(&str, &[&str]); 4] = [
        (
            "transposed.pt",
            &[
                "'transposed' of shape [3, 4] lies with strides [1, 3]",
                ".contiguous()",
            ],
        ),
        (
            "module.pt",
            &["asks for torch.nn.modules.container.Sequential, which no weight file needs"],
        ),
        (
            "elsewhere.pt",
            &["nor in one under state_dict, model, module; its keys are epoch, model, weights"],
        ),
        (
            "legacy.pt",
            &["it is in the format of PyTorch before version 1.6"],
        ),
    ];
    for (name, parts) in cases {
        refuses(name, open(file(name)), parts);
    }
}

#[test]
fn files_made_by_hand_open() {
    let zip = ZipFile::checkpoint(Pickle::new().weight(&VIEW));
    let zip64 = ZipFile {
        zip64: Some([None; 3]),
        end: [Some(0xFFFF_FFFF), Some(0xFFFF_FFFF), Some(0xFFFF)],
        ..zip.clone()
    };
    // Sizes and place of an entry in its ZIP64 field: bytes, packed bytes, offset.
    let place = zip
        .bytes()
        .windows(8)
        .position(|w| w == b"m/data/0")
        .unwrap()
        - 30;
    let large = zip.clone().change("m/data/0", |entry| {
        entry.extra = [&[1, 0, 24, 0][..], &[24, 0, 0, 0, 0, 0, 0, 0].repeat(2)].concat();
        entry.extra.extend((place as u64).to_le_bytes());
        (entry.n_bytes, entry.packed_bytes) = (Some(u32::MAX), Some(u32::MAX));
        entry.offset = Some(u32::MAX);
    });
    let last = View {
        offset: 2,
        shape: &[2, 1, 2],
        strides: &[2, 77, 1],
        ..VIEW
    };
    let later = ZipFile::checkpoint(Pickle::new().weight(&last));
    let mut old = zip.clone();
    old.entries.retain(|entry| entry.name != "m/byteorder");
    let expected: Vec<u8> = (0..24).collect();
    for (case, file, shape, expected) in [
        ("32 bits", &zip, vec![2, 3], &expected[..]),
        ("64 bits", &zip64, vec![2, 3], &expected[..]),
        ("64 bits of an entry", &large, vec![2, 3], &expected[..]),
        ("no byteorder", &old, vec![2, 3], &expected[..]),
        ("an offset", &later, vec![2, 1, 2], &expected[8..]),
    ] {
        let bytes = file.bytes();
        let header = open(bytes.clone()).unwrap_or_else(|e| panic!("{case}: {e}"));
        let [tensor] = &header.tensors[..] else {
            panic!("{case}: {header:?}");
        };
        let data = &bytes[tensor.range.start as usize..tensor.range.end as usize];
        assert_eq!((&tensor.shape, data), (&shape, expected), "{case}");
    }
}

/// The files of a folder, without that of the name `skip`.
fn folder(relative: &str, skip: &str) -> Vec<Source> {
    let entries = std::fs::read_dir(path(relative)).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    files
        .filter(|file| file.file_name().unwrap() != skip)
        .map(|file| Source::open(file).unwrap())
        .collect()
}

#[test]
fn a_folder_with_pytorch_files_gives_the_logits_of_its_safetensors_twin() {
    let options = LoadOptions {
        backend: BackendChoice::Cpu,
        cpu: CpuOptions {
            arithmetic: Arithmetic::Floats,
            ..CpuOptions::default()
        },
        ..LoadOptions::default()
    };
    let mut engine = load_files(sources("tiny-llama-bin"), &options);
    let backend = engine.session().backend();
    for Sequence { ids, logits } in sequences("tiny-llama-gqa-tied") {
        let vocab = logits.len() / ids.len();
        backend.begin(&Sampling::greedy(), &vec![0; vocab.div_ceil(32)]);
        for (pos, id) in ids.iter().enumerate() {
            backend.prefill(pos, &[*id], true).unwrap();
            let got = block_on(backend.logits()).unwrap();
            backend.discard();
            let want = &logits[pos * vocab..][..vocab];
            let scale = want.iter().fold(0f32, |m, w| m.max(w.abs()));
            for (g, w) in got.iter().zip(want) {
                assert!((g - w).abs() <= 1e-4 * scale, "position {pos}: {g} for {w}");
            }
        }
    }
}

#[test]
fn shards_need_each_other_and_their_index_stays_in_the_folder() {
    let open = |skip: &str| {
        let mut sources = folder("engine/tests/torch/sharded", skip);
        sources.extend(folder("models/tiny-llama-gqa-tied", "model.safetensors"));
        block_on(Checkpoint::open(sources))
    };
    let whole = open("").unwrap();
    let twin = block_on(Checkpoint::open(folder("models/tiny-llama-gqa-tied", ""))).unwrap();
    let n_parameters = |checkpoint: &Checkpoint| {
        let recording = checkpoint.record(&serde_json::Map::new()).unwrap();
        recording.n_parameters()
    };
    assert_eq!(n_parameters(&whole), n_parameters(&twin));
    assert!(
        whole
            .tensors()
            .all(|tensor| tensor.dtype == Ok(Dtype::Bf16))
    );
    let lost = "pytorch_model-00002-of-00002.bin";
    let error = open(lost).err().unwrap().to_string();
    assert!(error.contains(&format!("'{lost}' is not among")), "{error}");
    for bad in ["../pytorch_model.bin", "model.safetensors"] {
        let json = format!(r#"{{"weight_map":{{"a":"{bad}"}}}}"#);
        let index = torch::index("i.json", json.as_bytes());
        refuses(bad, index, &["which is not a .bin file beside it"]);
    }
}

#[test]
fn a_folder_may_hold_more_than_its_weights() {
    let others = ["training_args.bin", "optimizer.pt", "rng_state.pth"]
        .map(|name| Source::memory(name, b"not a model".to_vec()));
    let mut sources = folder("models/tiny-llama-bin", "");
    sources.extend(others);
    assert!(block_on(Checkpoint::open(sources)).is_ok());
    let mut twice = folder("models/tiny-llama-gqa-tied", "");
    twice.push(Source::memory("pytorch_model.bin", b"not read".to_vec()));
    assert!(block_on(Checkpoint::open(twice)).is_ok());
}

/// Where the pickle lies in a file of PyTorch: it is the first entry, and a data descriptor follows.
fn pickle_of(bytes: &[u8]) -> Range<usize> {
    let length = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let start = 30 + length(26) + length(28);
    let n = bytes[start..].windows(4).position(|w| w == b"PK\x07\x08");
    start..start + n.unwrap()
}

/// Changes a few bytes of the pickle and none of the archive.
fn damage_pickle(bytes: &mut [u8], random: &mut Random) {
    let place = pickle_of(bytes);
    let pickle = &mut bytes[place];
    let n = pickle.len() - 8;
    let at = random.below(n);
    match random.below(6) {
        0 => pickle[at] ^= 1 << random.below(8),
        1 => pickle[at] = random.next() as u8,
        2 => {
            let huge = u64::MAX >> random.below(64);
            let width = 1 << random.below(4);
            pickle[at..at + width].copy_from_slice(&huge.to_le_bytes()[..width]);
        }
        3 => pickle.swap(at, random.below(n)),
        // An opcode that pushes, takes, builds or repeats.
        4 => pickle[at] = b"N(})]tRQbsueahqXK."[random.below(18)],
        _ => {
            let width = 1 + random.below(8);
            pickle.copy_within(at..at + width, random.below(n));
        }
    }
}

#[test]
fn damaged_files_never_panic_and_never_ask_for_much_memory() {
    let names = [
        "nested.pt",
        "tied.pt",
        "formats.pt",
        "many.pt",
        "protocol4.pt",
    ];
    let good = names.map(file);
    let mut random = Random(11);
    let (mut opened, mut refused) = (0, 0);
    for case in 0..2_000 {
        let name = names[case % names.len()];
        let mut bytes = good[case % names.len()].clone();
        for _ in 0..=random.below(3) {
            match case % 3 {
                0 => damage(&mut bytes, &mut random),
                _ => damage_pickle(&mut bytes, &mut random),
            }
        }
        let limit = memory_limit(bytes.len());
        // Not the source's own copy.
        let source = Source::memory("m.bin", bytes);
        let (result, peak) = peak_bytes(|| block_on(torch::open(&source, 0)));
        assert!(
            peak <= limit,
            "{name}, case {case}: {peak} of {limit} bytes"
        );
        match result {
            Ok(header) => {
                opened += 1;
                let ends = header.tensors.iter().map(|t| t.range.end);
                assert!(ends.max().is_some_and(|end| end <= source.len()), "{name}");
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        opened > 100 && refused > 1_000,
        "{opened} opened, {refused} refused"
    );
}
