//! A model from wherever it is into the engine.

use super::{Worker, flow, memory_bytes, scope, send};
use crate::protocol::{self, Event, Info, JobId, ModelRef, Phase, Place, Preferences};
use crate::storage::{self, Failure, Report};
use engine::profile::{self, Recommended, SIDECAR};
use engine::{
    BackendChoice, Engine, LoadOptions, Precision, Source, Stage, checkpoint, race::Race,
};
use std::cell::Cell;
use web_sys::{AbortController, Blob, File};

impl Worker {
    /// Loads a model and keeps it; what came of it is for the page.
    pub async fn load(
        &self,
        id: JobId,
        model: &ModelRef,
        files: Vec<File>,
        threads: Option<u32>,
        options: LoadOptions,
    ) -> Event {
        match self.open(id, model, files, threads, options).await {
            // The page has long gone on: the memory is worth more.
            Ok(_) if self.is_stopped(id) => Event::Stopped { id },
            Ok(engine) => {
                let info = info(&engine);
                if info.dispatches_per_token.is_some() {
                    // The GPU runs it.
                    self.crew.dismiss();
                }
                *self.engine.borrow_mut() = Some(engine);
                Event::Ready { id, info }
            }
            Err(Failure::Stopped) => Event::Stopped { id },
            Err(Failure::Message(message)) => Event::Failed {
                id,
                message,
                model_usable: false,
            },
        }
    }

    async fn open(
        &self,
        id: JobId,
        model: &ModelRef,
        files: Vec<File>,
        threads: Option<u32>,
        mut options: LoadOptions,
    ) -> Result<Engine, Failure> {
        let files = match model {
            ModelRef::Remote(remote) => self.fetch(id, remote).await?,
            ModelRef::Local { .. } => files
                .into_iter()
                .map(|f| (f.name(), Blob::from(f)))
                .collect(),
        };
        let mut sources: Vec<Source> = files
            .iter()
            .map(|(name, blob)| Source::blob(name, blob.clone()))
            .collect();
        let fingerprint = checkpoint::fingerprint(&sources).await;
        let fingerprint = fingerprint.map_err(|e| e.to_string())?;
        // Last, so that a visitor's own go before them.
        if let ModelRef::Remote(remote) = model
            && let Place::Hub { repository, .. } = &remote.place
        {
            sources.extend(profile::of_repository(&repository.name));
        }
        if let Some(found) = storage::recall(&fingerprint, SETTINGS).await {
            sources.push(Source::memory(SIDECAR, found.into_bytes()));
        }
        options.race = known_race(&fingerprint).await;
        // Its workers would only take memory from the GPU's process.
        let for_gpu = match options.backend {
            BackendChoice::Cpu => false,
            BackendChoice::Gpu => true,
            // With as many threads as the visitor asks for, another race may be due.
            BackendChoice::Auto => {
                threads.is_none() && options.race.as_ref().is_some_and(Race::gpu_won)
            }
        };
        if !for_gpu {
            let model_bytes = files.iter().map(|(_, blob)| blob.size() as u64).sum();
            options.cpu.crew = self.crew.ready(threads, model_bytes).await;
        }
        let mut on_progress = |progress: engine::Progress| {
            let phase = match progress.stage {
                Stage::Reading(_) => Phase::Calibrating,
                Stage::Weights if progress.done_bytes < progress.total_bytes => Phase::Loading,
                Stage::Weights => Phase::Preparing,
                Stage::Race => Phase::Racing,
            };
            let (done_bytes, total_bytes) = (progress.done_bytes, Some(progress.total_bytes));
            send(&Event::Progress {
                id,
                phase,
                done_bytes,
                total_bytes,
            });
            flow(!self.is_stopped(id))
        };
        let engine = Engine::load(sources, &options, &mut on_progress).await;
        if let Ok(engine) = &engine {
            remember(&fingerprint, engine.info()).await;
        }
        if let (Err(engine::Error::BadHeader { file, .. }), ModelRef::Remote(remote)) =
            (&engine, model)
        {
            storage::discard(remote, file).await;
        }
        engine.map_err(|e| match e {
            engine::Error::Stopped => Failure::Stopped,
            e => Failure::Message(e.to_string()),
        })
    }

    async fn fetch(
        &self,
        id: JobId,
        remote: &protocol::Remote,
    ) -> Result<Vec<(String, Blob)>, Failure> {
        let abort = AbortController::new().map_err(|e| storage::describe(&e))?;
        let last_ms = Cell::new(f64::MIN);
        let report = Report {
            // Ten times a second is enough to look at.
            progress: &|phase, done_bytes, total_bytes| {
                let now_ms = js_sys::Date::now();
                if now_ms - last_ms.get() > 100.0 {
                    last_ms.set(now_ms);
                    send(&Event::Progress {
                        id,
                        phase,
                        done_bytes,
                        total_bytes,
                    });
                }
            },
            note: &|text| {
                send(&Event::Note {
                    id,
                    text: text.to_owned(),
                })
            },
            stopped: &|| self.is_stopped(id),
            abort: abort.signal(),
        };
        *self.abort.borrow_mut() = Some(abort);
        if self.is_stopped(id) {
            return Err(Failure::Stopped);
        }
        let files = storage::open(remote, &report).await;
        *self.abort.borrow_mut() = None;
        files
    }
}

/// What calibration found is kept under this name,
const SETTINGS: &str = "settings";
/// and a race under this.
const RACE: &str = "race";

/// Keeps what loading found out. Where the browser does not let us, it is found out again.
async fn remember(fingerprint: &str, info: &engine::Info) {
    if let Some(found) = &info.found {
        let settings = serde_json::Value::from(found.settings.clone());
        storage::remember(fingerprint, SETTINGS, &settings.to_string()).await;
    }
    if let Some(race) = &info.race {
        let kept = serde_json::to_string(&(build(), race)).expect("a race is plain data");
        storage::remember(fingerprint, RACE, &kept).await;
    }
}

/// The race that this build ran at an earlier visit; another may be faster on one backend.
async fn known_race(fingerprint: &str) -> Option<Race> {
    let kept = storage::recall(fingerprint, RACE).await?;
    let (by, race): (String, Race) = serde_json::from_str(&kept).ok()?;
    (by == build()).then_some(race)
}

/// What tells this worker's build from others: the end of its address.
fn build() -> String {
    scope().location().search()
}

/// The engine's options for what the page asks.
pub fn options(
    backend: protocol::BackendChoice,
    context: u32,
    precision: protocol::Precision,
) -> LoadOptions {
    LoadOptions {
        backend: choice(backend),
        context: Some(context as usize),
        precision: match precision {
            protocol::Precision::Auto => Precision::Auto,
            protocol::Precision::Exact => Precision::Exact,
            protocol::Precision::Q8 => Precision::Q8,
            protocol::Precision::Q4 => Precision::Q4,
        },
        ..LoadOptions::default()
    }
}

fn choice(backend: protocol::BackendChoice) -> BackendChoice {
    match backend {
        protocol::BackendChoice::Auto => BackendChoice::Auto,
        protocol::BackendChoice::Cpu => BackendChoice::Cpu,
        protocol::BackendChoice::Gpu => BackendChoice::Gpu,
    }
}

fn info(engine: &Engine) -> Info {
    let info = engine.info();
    Info {
        name: info.name.clone(),
        architecture: info.architecture.clone(),
        n_parameters: info.n_parameters,
        weight_bytes: info.weight_bytes,
        context: info.context as u32,
        max_context: info.max_context as u32,
        backend: info.backend.clone(),
        backend_reason: info.backend_reason.clone(),
        has_template: info.has_template,
        found: info.found.as_ref().map(found),
        recommended: preferences(info.recommended),
        dispatches_per_token: info.dispatches_per_token.map(|n| n as u32),
        memory_bytes: memory_bytes(),
    }
}

fn preferences(recommended: Recommended) -> Preferences {
    Preferences {
        temperature: recommended.temperature,
        top_k: recommended.top_k,
        top_p: recommended.top_p,
        min_p: recommended.min_p,
        repetition_penalty: recommended.repetition_penalty,
        seed: None,
    }
}

/// `bits_msb_first = true, rope_theta = 10000.0 (3.21 nats per token)`
fn found(found: &engine::calibrate::Found) -> String {
    let settings: Vec<String> = found
        .settings
        .iter()
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    format!("{} ({:.2} nats per token)", settings.join(", "), found.nll)
}
