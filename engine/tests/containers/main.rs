//! Model files from outside: what good ones give, the sentence that each bad one gives, and that none of them
//! panics, hangs or asks for much memory.

#[path = "../common/allocations.rs"]
mod allocations;
#[path = "../common/containers.rs"]
mod files;
mod gguf;
#[path = "../common/models.rs"]
mod models;
mod safetensors;
mod torch;
mod torch_archives;
#[path = "../common/torch.rs"]
mod torch_files;
mod torch_pickles;

use std::{fmt::Debug, path::Path};

use allocations::peak_bytes;
use engine::{
    Error,
    weights::{self, Dtype, source::Source},
};
use files::{Random, damage, reworded};
use pollster::block_on;

/// The file is refused, and the message has these parts.
fn refuses<T: Debug>(case: &str, opened: Result<T, Error>, parts: &[&str]) {
    let error = opened.expect_err(case);
    let text = error.to_string();
    assert!(matches!(error, Error::BadHeader { .. }), "{case}: {text}");
    for part in parts {
        assert!(text.contains(part), "{case}: {text}");
    }
}

/// Most bytes that reading a header may hold at once: pieces of the file and what is made of them.
fn memory_limit(file_bytes: usize) -> usize {
    4 * file_bytes + 4096
}

#[test]
fn damaged_headers_never_panic_and_never_ask_for_much_memory() {
    let gguf = gguf::good().bytes();
    let safetensors = safetensors::good();
    let n_header = safetensors::HEADER.len();
    let mut random = Random(7);
    let (mut opened, mut refused) = (0, 0);
    for case in 0..6_000 {
        let is_safetensors = case % 3 == 0;
        let mut bytes = if is_safetensors {
            safetensors.clone()
        } else {
            gguf.clone()
        };
        if is_safetensors && case % 2 == 0 {
            bytes = reworded(&bytes, 0..n_header, &mut random);
        } else {
            (0..=random.below(3)).for_each(|_| damage(&mut bytes, &mut random));
        }
        let limit = memory_limit(bytes.len());
        // Not the source's own copy.
        let source = Source::memory("m", bytes);
        let (ok, peak) = peak_bytes(|| match is_safetensors {
            true => block_on(weights::safetensors::open(&source, 0)).is_ok(),
            false => block_on(weights::gguf::open(&source, 0)).is_ok(),
        });
        assert!(peak <= limit, "case {case}: {peak} of {limit} bytes");
        if ok { opened += 1 } else { refused += 1 }
    }
    assert!(
        opened > 200 && refused > 2_000,
        "{opened} opened, {refused} refused"
    );
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
    let gguf = block_on(weights::gguf::open(&source, 0)).unwrap();
    assert_eq!(gguf.metadata.str("general.architecture").unwrap(), "llama");
    assert!(gguf.tensors.iter().any(|t| t.dtype == Ok(Dtype::Q4_1)));
    let folder = models.join("tiny-llama-sharded");
    let json = std::fs::read(folder.join("model.safetensors.index.json")).unwrap();
    let index = weights::safetensors::index("model.safetensors.index.json", &json).unwrap();
    assert_eq!(index.shards().len(), 2);
    for (file, name) in index.shards().iter().enumerate() {
        let source = Source::open(folder.join(name)).unwrap();
        let header = block_on(weights::safetensors::open(&source, file)).unwrap();
        for tensor in header.tensors {
            assert_eq!(&index.weight_map[&tensor.name], name, "{}", tensor.name);
        }
    }
}
