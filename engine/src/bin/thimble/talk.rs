//! `thimble chat` and `thimble run`.

use std::{
    fs,
    io::{self, BufRead, IsTerminal},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use engine::{
    Engine, Error, Event, Finished, Generation, LoadOptions, Message, Prompt, Reason, Role, Source,
    Stage, calibrate::Found, checkpoint, profile::SIDECAR, race::Race,
};

use crate::{
    Answer, download,
    terminal::{
        Failure, interrupted, note, profile, progress, say, set_answering, sources,
        watch_interrupts,
    },
};

/// What `thimble run` is asked.
pub struct Question {
    pub text: String,
    pub system: Option<String>,
    /// Without the chat template.
    pub raw: bool,
}

/// Answers one prompt.
pub async fn run(
    model: &Path,
    options: &LoadOptions,
    question: Question,
    settings: &Answer,
) -> Result<(), Failure> {
    let mut engine = load(model, options).await?;
    let generation = &settings.generation(engine.info().recommended);
    let chats = engine.info().has_template && !question.raw;
    let prompt = if chats {
        let mut messages = opening(question.system);
        messages.push(Message::new(Role::User, question.text));
        Prompt::Chat(messages)
    } else {
        Prompt::Text(question.text)
    };
    let (_, finished) = answer(&mut engine, &prompt, generation).await?;
    note(&figures(&engine, &finished));
    Ok(())
}

/// Says how well the model predicts a text.
pub async fn score(model: &Path, options: &LoadOptions, text: &Path) -> Result<(), Failure> {
    let text = fs::read_to_string(text)
        .map_err(|e| Failure::Said(format!("reading {} failed: {e}", text.display())))?;
    let mut engine = load(model, options).await?;
    let mut on_progress = |done, all| {
        progress(done, all, "tokens read");
        ControlFlow::Continue(())
    };
    let (n, nll) = engine.score(&text, &mut on_progress).await?;
    say(&format!(
        "{n} tokens, {nll:.4} nats per token, perplexity {:.3}, {:.4} bits per byte\n",
        nll.exp(),
        nll * n as f64 / std::f64::consts::LN_2 / text.len() as f64
    ))
}

/// Talks until the input ends.
pub async fn chat(
    model: &Path,
    options: &LoadOptions,
    system: Option<String>,
    settings: &Answer,
) -> Result<(), Failure> {
    let mut engine = load(model, options).await?;
    let generation = &settings.generation(engine.info().recommended);
    if !engine.info().has_template {
        return Err(Failure::Said(
            "this is a base model without a chat template; continue a text with `thimble run MODEL --raw --prompt …`".into(),
        ));
    }
    let mut messages = opening(system.clone());
    while let Some(line) = ask()? {
        match line.trim() {
            "" => continue,
            "/exit" | "/quit" => break,
            "/new" => {
                messages = opening(system.clone());
                note("A new conversation.\n");
                continue;
            }
            text => messages.push(Message::new(Role::User, text)),
        }
        match answer(&mut engine, &Prompt::Chat(messages.clone()), generation).await {
            Ok((text, finished)) => {
                note(&figures(&engine, &finished));
                messages.push(Message::new(Role::Assistant, text));
            }
            // The conversation stands as it was before this message.
            Err(Answered::Failed(
                e @ (Error::ContextFull { .. } | Error::BadRequest(_) | Error::Template(_)),
            )) => {
                messages.pop();
                note(&format!("{e}\n/new begins a new conversation.\n"));
            }
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}

fn opening(system: Option<String>) -> Vec<Message> {
    system
        .map(|text| Message::new(Role::System, text))
        .into_iter()
        .collect()
}

/// One line from the keyboard or a pipe; nothing at its end.
fn ask() -> Result<Option<String>, Failure> {
    let is_terminal = io::stdin().is_terminal();
    if is_terminal {
        note("> ");
    }
    let mut line = Vec::new();
    let n_bytes = io::stdin().lock().read_until(b'\n', &mut line);
    match n_bytes {
        Ok(0) => {
            if is_terminal {
                note("\n");
            }
            Ok(None)
        }
        Ok(_) => Ok(Some(String::from_utf8_lossy(&line).into_owned())),
        Err(e) => Err(Failure::Said(format!("reading the input failed: {e}"))),
    }
}

/// Where what loading found out about a model is kept; nowhere if there is no home folder.
fn memory(fingerprint: &str, what: &str) -> Option<PathBuf> {
    let folder = download::cache().ok()?.join("settings");
    Some(folder.join(format!("{fingerprint}{what}.json")))
}

/// Says what calibration found, and keeps it for the next time.
fn remember(found: &Found, memory: Option<&Path>) {
    let settings = serde_json::Value::Object(found.settings.clone());
    note(&format!(
        "This model's files leave something open. What fits best ({:.2} nats per token): {settings}\n",
        found.nll
    ));
    if let Some(path) = memory.filter(|path| keep(path, &format!("{settings:#}\n"))) {
        note(&format!("Kept in {}\n", path.display()));
    }
}

/// Whether the file could be written.
fn keep(path: &Path, text: &str) -> bool {
    let made = path.parent().map(fs::create_dir_all).transpose();
    made.is_ok() && fs::write(path, text).is_ok()
}

/// When this program was built: another build may be faster on one backend.
fn build() -> Option<u64> {
    let changed = std::env::current_exe().ok()?.metadata().ok()?.modified();
    let since = changed.ok()?.duration_since(std::time::UNIX_EPOCH);
    Some(since.ok()?.as_secs())
}

/// The race that this build ran with the same model.
fn known_race(memory: &Path) -> Option<Race> {
    let (by, race): (u64, Race) = serde_json::from_slice(&fs::read(memory).ok()?).ok()?;
    (build()? == by).then_some(race)
}

fn remember_race(race: &Race, memory: &Path) {
    if let Some(build) = build() {
        let kept = serde_json::to_string(&(build, race)).expect("a race is plain data");
        // Where it cannot be kept, it is run again.
        keep(memory, &kept);
    }
}

/// Opens a model, and says what it is.
pub async fn load(model: &Path, options: &LoadOptions) -> Result<Engine, Failure> {
    watch_interrupts();
    let shows = io::stderr().is_terminal();
    let mut shown = String::new();
    let mut on_progress = |progress: engine::Progress| {
        let percent = progress.done_bytes * 100 / progress.total_bytes.max(1);
        let text = match progress.stage {
            Stage::Reading(n) => format!("Finding out how the file is to be read: try {n}"),
            Stage::Weights => format!("Loading {percent} %"),
            Stage::Race => "Trying the CPU and the GPU, once for this model".to_owned(),
        };
        if shows && text != shown {
            note(&format!("\r\x1b[K{text}"));
            shown = text;
        }
        ControlFlow::Continue(())
    };
    let mut files = sources(model)?;
    let fingerprint = checkpoint::fingerprint(&files).await?;
    let (settings, race) = (memory(&fingerprint, ""), memory(&fingerprint, ".race"));
    files.extend(profile(model));
    let found = settings.as_ref().and_then(|path| fs::read(path).ok());
    files.extend(found.map(|json| Source::memory(SIDECAR, json)));
    let options = LoadOptions {
        race: race.as_deref().and_then(known_race),
        ..options.clone()
    };
    let engine = Engine::load(files, &options, &mut on_progress).await;
    if !shown.is_empty() {
        note("\r\x1b[K");
    }
    let engine = engine?;
    let info = engine.info();
    if let Some(found) = &info.found {
        remember(found, settings.as_deref());
    }
    if let (Some(run), Some(path)) = (&info.race, &race) {
        remember_race(run, path);
    }
    let reason = info
        .backend_reason
        .as_ref()
        .map_or(String::new(), |r| format!(" ({r})"));
    note(&format!(
        "{} · {:.1} M parameters · {:.1} MB · context {} · {}{reason}\n",
        info.name,
        info.n_parameters as f64 / 1e6,
        info.weight_bytes as f64 / 1e6,
        info.context,
        info.backend,
    ));
    Ok(engine)
}

/// Why there is no answer.
enum Answered {
    Failed(Error),
    Unheard(Failure),
}

impl From<Answered> for Failure {
    fn from(answered: Answered) -> Failure {
        match answered {
            Answered::Failed(error) => error.into(),
            Answered::Unheard(failure) => failure,
        }
    }
}

/// Writes the answer to standard output as it comes, and a line end.
async fn answer(
    engine: &mut Engine,
    prompt: &Prompt,
    generation: &Generation,
) -> Result<(String, Finished), Answered> {
    let mut answer = String::new();
    let mut heard = Ok(());
    set_answering(true);
    let mut on_event = |event| {
        if let Event::Text(text) = event {
            heard = say(&text);
            answer.push_str(&text);
        }
        if heard.is_err() || interrupted() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    let finished = engine.generate(prompt, generation, &mut on_event).await;
    set_answering(false);
    let finished = finished.map_err(Answered::Failed)?;
    heard.and_then(|()| say("\n")).map_err(Answered::Unheard)?;
    Ok((answer, finished))
}

/// The figures of an answer, as one line.
fn figures(engine: &Engine, finished: &Finished) -> String {
    let per_second = |n: usize, ms: f64| n as f64 * 1e3 / ms.max(1e-3);
    let read = finished.n_prompt - finished.n_reused;
    let mut parts = vec![
        format!(
            "prompt {} tokens, {} reused, {:.1} tokens/s",
            finished.n_prompt,
            finished.n_reused,
            per_second(read, finished.prefill_ms)
        ),
        format!("first token after {:.2} s", finished.prefill_ms / 1e3),
        // The first token belongs to the prefill.
        format!(
            "{} tokens, {:.1} tokens/s",
            finished.n_generated,
            per_second(finished.n_generated.saturating_sub(1), finished.decode_ms)
        ),
        engine.info().backend.clone(),
    ];
    if let Some(n) = engine.info().dispatches_per_token {
        parts.push(format!("{n} dispatches/token"));
    }
    match finished.reason {
        Reason::EndOfText | Reason::StopString => {}
        Reason::Length => parts.push("ended by --max-tokens".into()),
        Reason::ContextFull => parts.push("ended because the context is full".into()),
        Reason::Stopped => parts.push("stopped".into()),
    }
    format!("[{}]\n", parts.join(" · "))
}
