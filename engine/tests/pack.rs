//! `thimble pack`: the packed file is the model that the folder is when it is packed at load.

#[path = "common/allocations.rs"]
mod allocations;
#[path = "common/containers.rs"]
mod files;
#[path = "common/models.rs"]
mod models;

use allocations::peak_bytes;
use engine::{
    BackendChoice, Engine, LoadOptions, Precision, Sampling, Source, checkpoint::Checkpoint,
    session::Tick, weights::loader,
};
use files::{Random, damage, reworded};
use models::{load_files, path};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::Command,
};

fn greedy(engine: &mut Engine) -> Vec<u32> {
    let prompt: Vec<u32> = (5..25).collect();
    let mut tokens = Vec::new();
    let mut on_tick = |tick| {
        if let Tick::Token(token) = tick {
            tokens.push(token);
        }
        ControlFlow::Continue(())
    };
    let sampling = Sampling::greedy();
    let run = engine.session().run(&prompt, &sampling, 40, &mut on_tick);
    pollster::block_on(run).unwrap();
    tokens
}

/// The packed file that `thimble pack` makes of a folder.
fn pack(folder: &Path, to: &str, precision: &str) -> PathBuf {
    let to = temporary(to);
    let output = Command::new(env!("CARGO_BIN_EXE_thimble"))
        .arg("pack")
        .args([folder, &to])
        .args(["--precision", precision])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    to
}

fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A random Metis whose matrices, stored [in, out] and stacked by expert, are large enough to be packed.
fn metis(name: &str) -> PathBuf {
    let (folder, tiny) = (temporary(name), path("models/tiny-metis"));
    fs::create_dir_all(&folder).unwrap();
    for small in [
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    ] {
        fs::copy(tiny.join(small), folder.join(small)).unwrap();
    }
    let mut config: Value =
        serde_json::from_slice(&fs::read(tiny.join("config.json")).unwrap()).unwrap();
    let sizes = [
        ("d_model", 128),
        ("n_layer", 1),
        ("n_heads", 2),
        ("n_kv_heads", 2),
        ("head_dim", 64),
    ];
    for (key, value) in sizes {
        config[key] = json!(value);
    }
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let shapes: [(&str, &[usize]); 15] = [
        ("embed", &[288, 128]),
        ("final_norm.scale", &[128]),
        ("layers.0.attn_norm.scale", &[128]),
        ("layers.0.expert_w1", &[8, 32, 64]),
        ("layers.0.expert_w2", &[8, 64, 32]),
        ("layers.0.k", &[128, 128]),
        ("layers.0.latent_down", &[128, 32]),
        ("layers.0.latent_up", &[32, 128]),
        ("layers.0.moe_norm.scale", &[128]),
        ("layers.0.o", &[128, 128]),
        ("layers.0.q", &[128, 128]),
        ("layers.0.router", &[128, 8]),
        ("layers.0.router_bias", &[8]),
        ("layers.0.shared_w1", &[128, 160]),
        ("layers.0.shared_w2", &[160, 128]),
    ];
    let mut random = Random(11);
    let v = ("layers.0.v", &[128, 128][..]);
    let data = shapes.into_iter().chain([v]).map(|(name, shape)| {
        let n: usize = shape.iter().product();
        let mut number = || (random.below(2001) as f32 - 1000.0) / 5000.0;
        let bytes: Vec<u8> = (0..n).flat_map(|_| number().to_le_bytes()).collect();
        (name, (shape.to_vec(), bytes))
    });
    let data: BTreeMap<&str, (Vec<usize>, Vec<u8>)> = data.collect();
    let views = data.iter().map(|(name, (shape, bytes))| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
        (*name, view)
    });
    let file = safetensors::serialize(views, None).unwrap();
    fs::write(folder.join("model.safetensors"), file).unwrap();
    folder
}

fn sources(folder: &Path) -> Vec<Source> {
    let files = fs::read_dir(folder).unwrap();
    let files = files.map(|entry| Source::open(entry.unwrap().path()).unwrap());
    files.filter(|file| !file.name().ends_with(".md")).collect()
}

#[test]
fn a_packed_file_is_the_folder_packed_at_load() {
    let folders = [
        (path("models/trained-mtlm1"), 700_000),
        (metis("metis-to-pack"), 250_000),
    ];
    for (folder, most_bytes) in folders {
        for (name, precision) in [("q8", Precision::Q8), ("q4", Precision::Q4)] {
            let stem = folder.file_name().unwrap().to_str().unwrap();
            let to = pack(&folder, &format!("{stem}-{name}.safetensors"), name);
            let options = LoadOptions {
                backend: BackendChoice::Cpu,
                precision,
                ..LoadOptions::default()
            };
            let mut at_load = load_files(sources(&folder), &options);
            // The file says itself what it is: nothing is asked for.
            let packed = LoadOptions {
                backend: BackendChoice::Cpu,
                ..LoadOptions::default()
            };
            let mut packed = load_files(vec![Source::open(&to).unwrap()], &packed);
            assert_eq!(packed.info().weight_bytes, at_load.info().weight_bytes);
            let n_bytes = fs::metadata(&to).unwrap().len();
            assert!(n_bytes < most_bytes, "{stem} {name}: {n_bytes} bytes");
            assert_eq!(greedy(&mut packed), greedy(&mut at_load), "{stem} {name}");
        }
    }
}

#[test]
fn a_packed_file_that_does_not_hold_is_refused() {
    let folder = path("models/trained-mtlm1");
    let whole = fs::read(pack(&folder, "to-break.safetensors", "q8")).unwrap();
    let text = String::from_utf8_lossy(&whole[..40_000]).into_owned();
    for (from, into) in [
        (r#"\"format\":\"q8\""#, r#"\"format\":\"q4\""#),
        (r#"\"transposed\":false"#, r#"\"transposed\":1e10 "#),
        (r#"\"shape\":[1024,128]"#, r#"\"shape\":[9024,128]"#),
        (r#"\"shape\":[1024,128]"#, r#"\"shape\":[1024,  0]"#),
    ] {
        assert_eq!(from.len(), into.len());
        let at = text
            .find(from)
            .unwrap_or_else(|| panic!("{from} in {text}"));
        let mut broken = whole.clone();
        broken[at..at + from.len()].copy_from_slice(into.as_bytes());
        let source = Source::memory("broken.safetensors", broken);
        let mut go_on = |_| ControlFlow::Continue(());
        let options = LoadOptions::default();
        let loaded = Engine::load(vec![source], &options, &mut go_on);
        let error = pollster::block_on(loaded).err().unwrap().to_string();
        assert!(error.contains("thimble.packed"), "{into}: {error}");
    }
}

/// Opened, recorded and read to the last byte: an error, or a model of some other numbers.
#[test]
fn damaged_packed_files_never_panic_and_never_ask_for_much_memory() {
    let whole = fs::read(pack(
        &metis("metis-to-damage"),
        "to-damage.safetensors",
        "q4",
    ))
    .unwrap();
    let text = String::from_utf8_lossy(&whole).into_owned();
    // Of the header, what says where the weights are: the model's small files are other tests' matter.
    let n_header = u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
    let packed = text.find("thimble.packed").unwrap() - 8;
    let tensors = text.find("\"dtype\"").unwrap() - 8;
    let small = text.find("tokenizer.json").unwrap() - 8;
    let parts = [
        packed..n_header.min(packed + 1500),
        tensors..small.max(tensors + 1500).min(n_header),
    ];
    // The tokenizer's share does not depend on where the weights are.
    let sound = Source::memory("sound.safetensors", whole.clone());
    let (outcome, sound_bytes) = peak_bytes(|| pollster::block_on(read(sound)));
    outcome.unwrap();
    let mut random = Random(3);
    let (mut loaded, mut refused) = (0, 0);
    for case in 0..2_000 {
        let mut bytes = match case % 4 {
            0 => whole.clone(),
            n => reworded(&whole, parts[n % 2].clone(), &mut random),
        };
        if case % 4 == 0 {
            damage(&mut bytes, &mut random);
        }
        let limit = sound_bytes + bytes.len();
        let source = Source::memory("damaged.safetensors", bytes);
        let (outcome, peak) = peak_bytes(|| pollster::block_on(read(source)));
        assert!(peak <= limit, "case {case}: {peak} of {limit} bytes");
        match outcome {
            Ok(()) => loaded += 1,
            Err(e) => {
                assert!(!e.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(
        loaded > 100 && refused > 500,
        "{loaded} loaded, {refused} refused"
    );
}

async fn read(source: Source) -> engine::Result<()> {
    let checkpoint = Checkpoint::open(vec![source]).await?;
    let recording = checkpoint.record(&Map::new())?;
    let mut upload = |_, _: &_| Ok(());
    let mut go_on = |_| ControlFlow::Continue(());
    loader::load(
        &checkpoint.sources,
        &recording.jobs,
        &mut upload,
        &mut go_on,
    )
    .await
}
