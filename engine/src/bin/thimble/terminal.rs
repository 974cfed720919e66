//! What the terminal does: streams that may be closed, Ctrl-C, and the files that a path stands for.

use std::{
    ffi::OsStr,
    fs,
    io::{self, IsTerminal, Write},
    path::Path,
    sync::atomic::{AtomicU8, Ordering},
};

use engine::{
    Error, Source, profile,
    weights::{safetensors, torch},
};

use crate::download;

/// Why the program ends before its time.
pub enum Failure {
    /// A sentence for the reader, and exit code 1.
    Said(String),
    /// Nobody reads the output any more, as in `thimble … | head`: nothing is wrong.
    ReaderGone,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Said(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::Said(format!("writing the output failed: {error}")),
        }
    }
}

/// Writes to standard error; where nobody reads it there is nobody to tell.
pub fn note(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}

/// A count that overwrites itself, where somebody watches, and goes with the last.
pub fn progress(done: usize, all: usize, what: &str) {
    if !io::stderr().is_terminal() {
        return;
    }
    if done < all {
        note(&format!("\r\x1b[K{done} of {all} {what}"));
    } else {
        note("\r\x1b[K");
    }
}

/// Writes to standard output at once.
pub fn say(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Nothing is being answered: Ctrl-C ends the program.
const IDLE: u8 = 0;
/// An answer is being written: Ctrl-C ends the answer, and a second one the program.
const ANSWERING: u8 = 1;
/// Ctrl-C came during the answer.
const INTERRUPTED: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(IDLE);

/// Takes Ctrl-C over. Where the system refuses, it ends the program as ever.
pub fn watch_interrupts() {
    let _ = ctrlc::set_handler(|| {
        let answering =
            STATE.compare_exchange(ANSWERING, INTERRUPTED, Ordering::SeqCst, Ordering::SeqCst);
        if answering.is_err() {
            note("\n");
            // What the shell expects of a program that SIGINT ended.
            std::process::exit(130);
        }
    });
}

/// Says whether an answer is being written, from now on.
pub fn set_answering(answering: bool) {
    STATE.store(if answering { ANSWERING } else { IDLE }, Ordering::SeqCst);
}

/// Whether Ctrl-C came during this answer.
pub fn interrupted() -> bool {
    STATE.load(Ordering::SeqCst) == INTERRUPTED
}

/// What is known of a model by its name: a repository's, or that of its folder.
pub fn profile(path: &Path) -> Option<Source> {
    match download::repository(path) {
        Some(repository) => profile::of_repository(&repository.name),
        None => profile::of_repository(path.file_name()?.to_str()?),
    }
}

/// The files of a model: one .gguf, those of a folder that Thimble reads, or those of a repository on the hub.
pub fn sources(path: &Path) -> Result<Vec<Source>, Failure> {
    if let Some(repository) = download::repository(path) {
        let files = download::fetch(&repository)?;
        return Ok(files.iter().map(Source::open).collect::<Result<_, _>>()?);
    }
    if !path.is_dir() {
        return Ok(vec![Source::open(path)?]);
    }
    let unreadable =
        |e: io::Error| Failure::Said(format!("reading the folder {} failed: {e}", path.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        // Files of models have plain names; others are none of ours.
        names.extend(entry.map_err(unreadable)?.file_name().into_string().ok());
    }
    names.sort();
    let with_ending = |ending: &str| -> Vec<String> {
        let has = |name: &&String| Path::new(name).extension() == Some(OsStr::new(ending));
        names.iter().filter(has).cloned().collect()
    };
    let mut chosen = with_ending("gguf");
    // Some authors publish no config.json.
    let with_weights = ["config.json", "model.safetensors"];
    if names.iter().any(|n| with_weights.contains(&n.as_str())) {
        chosen = weight_files(path, &names, with_ending("safetensors"))?;
        chosen.extend(
            names
                .iter()
                .filter(|n| hub::SMALL_FILES.contains(&n.as_str()) || INDICES.contains(&n.as_str()))
                .cloned(),
        );
    } else if chosen.len() != 1 {
        return Err(Failure::Said(format!(
            "the folder {} holds no config.json and {} .gguf files; give one .gguf file, or a folder with config.json, tokenizer.json and *.safetensors or pytorch_model*.bin",
            path.display(),
            chosen.len()
        )));
    }
    Ok(chosen
        .iter()
        .map(|name| Source::open(path.join(name)))
        .collect::<Result<_, _>>()?)
}

const INDEX: &str = "model.safetensors.index.json";
const TORCH_INDEX: &str = "pytorch_model.bin.index.json";
const INDICES: [&str; 2] = [INDEX, TORCH_INDEX];

/// The shards that the index names, or `model.safetensors`, or whatever .safetensors there is: a folder may
/// hold the same weights twice.
fn weight_files(
    folder: &Path,
    names: &[String],
    safetensors: Vec<String>,
) -> Result<Vec<String>, Failure> {
    if names.iter().any(|n| n == INDEX) {
        let json = fs::read(folder.join(INDEX))
            .map_err(|e| Failure::Said(format!("reading {INDEX} failed: {e}")))?;
        return Ok(safetensors::index(INDEX, &json)?.shards());
    }
    if safetensors.is_empty() {
        return torch_files(folder, names);
    }
    let single = "model.safetensors".to_string();
    Ok(if safetensors.contains(&single) {
        vec![single]
    } else {
        safetensors
    })
}

/// As [`weight_files`], of PyTorch's files.
fn torch_files(folder: &Path, names: &[String]) -> Result<Vec<String>, Failure> {
    if names.iter().any(|n| n == TORCH_INDEX) {
        let json = fs::read(folder.join(TORCH_INDEX))
            .map_err(|e| Failure::Said(format!("reading {TORCH_INDEX} failed: {e}")))?;
        return Ok(torch::index(TORCH_INDEX, &json)?.shards());
    }
    let weights = names.iter().filter(|name| torch::is_weights(name));
    Ok(weights.cloned().collect())
}
