//! The worker: owns the engine, does one job after the other, and hears "stop" in between.

use engine::weights::source::Source;
use engine::{BackendChoice, Engine, Generation, LoadOptions, Message, Prompt};
use js_sys::{RangeError, WebAssembly};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web::protocol::{
    self, BUILD, Event, Info, JobId, ModelRef, Phase, Reason, Request, Role, Sampling, Stats, Turn,
};
use web::storage::{self, Failure, Report};
use web_sys::{
    AbortController, Blob, DedicatedWorkerGlobalScope, File, MessageEvent, PromiseRejectionEvent,
};

fn main() {
    std::panic::set_hook(Box::new(|info| {
        console_error_panic_hook::hook(info);
        let text = info.payload_as_str().unwrap_or("for an unknown reason");
        crash(text.to_owned());
    }));
    let worker = Rc::new(Worker::default());
    let on_message = Closure::<dyn Fn(MessageEvent)>::new(move |message: MessageEvent| {
        receive(&worker, &message)
    });
    scope().set_onmessage(Some(on_message.into_js_value().unchecked_ref()));
    // What ends a job without a panic, such as memory that was refused, arrives here.
    let on_rejection =
        Closure::<dyn Fn(PromiseRejectionEvent)>::new(|event: PromiseRejectionEvent| {
            let reason = event.reason();
            if reason.is_instance_of::<WebAssembly::RuntimeError>()
                || reason.is_instance_of::<RangeError>()
            {
                crash(storage::describe(&reason));
            }
        });
    let listener = on_rejection.into_js_value();
    // A worker's scope has the event, and web-sys no property for it.
    let _ =
        scope().add_event_listener_with_callback("unhandledrejection", listener.unchecked_ref());
    send(&Event::Hello {
        build: BUILD.to_owned(),
    });
}

#[derive(Default)]
struct Worker {
    engine: RefCell<Option<Engine>>,
    queue: RefCell<VecDeque<(Request, Vec<File>)>>,
    busy: Cell<bool>,
    /// Jobs up to this one are to stop.
    stopped: Cell<JobId>,
    /// Ends the fetch of the current job.
    abort: RefCell<Option<AbortController>>,
}

fn receive(worker: &Rc<Worker>, message: &MessageEvent) {
    let parts = js_sys::Array::from(&message.data());
    let json = parts.get(0).as_string().unwrap_or_default();
    let request: Request =
        serde_json::from_str(&json).expect("the page and the worker are of one build");
    let files = parts
        .iter()
        .skip(1)
        .filter_map(|part| part.dyn_into().ok())
        .collect();
    if let Request::Stop { id } = request {
        worker.stopped.set(id.max(worker.stopped.get()));
        if let Some(abort) = &*worker.abort.borrow() {
            abort.abort();
        }
        return;
    }
    worker.queue.borrow_mut().push_back((request, files));
    if !worker.busy.replace(true) {
        let worker = Rc::clone(worker);
        spawn_local(async move {
            loop {
                let next = worker.queue.borrow_mut().pop_front();
                let Some((request, files)) = next else { break };
                worker.handle(request, files).await;
            }
            worker.busy.set(false);
        });
    }
}

impl Worker {
    fn is_stopped(&self, id: JobId) -> bool {
        id <= self.stopped.get()
    }

    async fn handle(&self, request: Request, files: Vec<File>) {
        match request {
            Request::Catalog => send(&match storage::catalog().await {
                Ok(models) => Event::Catalog { models },
                Err(message) => Event::NoCatalog { message },
            }),
            Request::Load {
                id,
                model,
                backend,
                context,
            } => {
                // The old model's memory is for the new one.
                *self.engine.borrow_mut() = None;
                let options = LoadOptions {
                    backend: choice(backend),
                    context: Some(context as usize),
                    ..Default::default()
                };
                match self.load(id, &model, files, &options).await {
                    // The page has long gone on: the memory is worth more.
                    Ok(_) if self.is_stopped(id) => send(&Event::Stopped { id }),
                    Ok(engine) => {
                        send(&Event::Ready {
                            id,
                            info: info(&engine),
                        });
                        *self.engine.borrow_mut() = Some(engine);
                    }
                    Err(Failure::Stopped) => send(&Event::Stopped { id }),
                    Err(Failure::Message(message)) => send(&Event::Failed {
                        id,
                        message,
                        model_usable: false,
                    }),
                }
            }
            Request::Generate {
                id,
                messages,
                sampling,
                max_tokens,
            } => {
                self.generate(id, messages, sampling, max_tokens).await;
            }
            Request::Unload => *self.engine.borrow_mut() = None,
            Request::Forget => storage::forget().await,
            Request::Stop { .. } => unreachable!("seen on arrival"),
        }
    }

    async fn load(
        &self,
        id: JobId,
        model: &ModelRef,
        files: Vec<File>,
        options: &LoadOptions,
    ) -> Result<Engine, Failure> {
        let sources = match model {
            ModelRef::Remote(remote) => {
                let blob = self.fetch(id, remote).await?;
                let name = remote.url.rsplit('/').next().unwrap_or(&remote.url);
                vec![Source::blob(name, blob)]
            }
            ModelRef::Local { .. } => files
                .into_iter()
                .map(|f| Source::blob(f.name(), Blob::from(f)))
                .collect(),
        };
        let mut on_progress = |progress: engine::Progress| {
            let phase = if progress.done_bytes < progress.total_bytes {
                Phase::Loading
            } else {
                Phase::Preparing
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
        let engine = Engine::load(sources, options, &mut on_progress).await;
        if let (Err(engine::Error::BadHeader { .. }), ModelRef::Remote(remote)) = (&engine, model) {
            storage::discard(remote).await;
        }
        engine.map_err(|e| match e {
            engine::Error::Stopped => Failure::Stopped,
            e => Failure::Message(e.to_string()),
        })
    }

    async fn fetch(&self, id: JobId, remote: &protocol::Remote) -> Result<Blob, Failure> {
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
        let blob = storage::open(remote, &report).await;
        *self.abort.borrow_mut() = None;
        blob
    }

    async fn generate(&self, id: JobId, messages: Vec<Turn>, sampling: Sampling, max_tokens: u32) {
        let engine = self.engine.borrow_mut().take();
        let Some(mut engine) = engine else {
            let message = "no model is loaded; load one and ask again".to_owned();
            return send(&Event::Failed {
                id,
                message,
                model_usable: false,
            });
        };
        let prompt = prompt(messages, engine.info().has_template);
        if let Ok(tokens) = engine.tokens(&prompt) {
            send(&Event::Reading {
                id,
                n_prompt: tokens.len() as u32,
            });
        }
        let generation = Generation {
            sampling: self::sampling(sampling),
            max_tokens: max_tokens as usize,
            stop: Vec::new(),
        };
        let mut on_event = |event| {
            send(&match event {
                engine::Event::Prefill { done, total } => Event::Prefill {
                    id,
                    done: done as u32,
                    total: total as u32,
                },
                engine::Event::Text(text) => Event::Token { id, text },
            });
            flow(!self.is_stopped(id))
        };
        let finished = engine.generate(&prompt, &generation, &mut on_event).await;
        let event = match finished {
            Ok(finished) => Event::Done {
                id,
                reason: reason(finished.reason),
                stats: stats(&finished),
            },
            Err(engine::Error::Stopped) => Event::Done {
                id,
                reason: Reason::Stopped,
                stats: Stats::default(),
            },
            Err(e) => {
                let model_usable = !matches!(
                    e,
                    engine::Error::DeviceLost(_) | engine::Error::OutOfMemory { .. }
                );
                Event::Failed {
                    id,
                    message: e.to_string(),
                    model_usable,
                }
            }
        };
        let lost = matches!(
            event,
            Event::Failed {
                model_usable: false,
                ..
            }
        );
        *self.engine.borrow_mut() = (!lost).then_some(engine);
        send(&event);
    }
}

fn flow(go_on: bool) -> ControlFlow<()> {
    if go_on {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(())
    }
}

/// A model without a template goes on with the text as it stands.
fn prompt(messages: Vec<Turn>, has_template: bool) -> Prompt {
    if !has_template {
        return Prompt::Text(
            messages
                .into_iter()
                .map(|turn| turn.content)
                .collect::<Vec<_>>()
                .join("\n"),
        );
    }
    let message = |turn: Turn| Message {
        role: match turn.role {
            Role::System => engine::Role::System,
            Role::User => engine::Role::User,
            Role::Assistant => engine::Role::Assistant,
        },
        content: turn.content,
    };
    Prompt::Chat(messages.into_iter().map(message).collect())
}

fn choice(backend: protocol::BackendChoice) -> BackendChoice {
    match backend {
        protocol::BackendChoice::Auto => BackendChoice::Auto,
        protocol::BackendChoice::Cpu => BackendChoice::Cpu,
        protocol::BackendChoice::Gpu => BackendChoice::Gpu,
    }
}

fn sampling(s: Sampling) -> engine::sampler::Sampling {
    engine::sampler::Sampling {
        temperature: s.temperature,
        top_k: s.top_k,
        top_p: s.top_p,
        min_p: s.min_p,
        repetition_penalty: s.repetition_penalty,
        seed: s
            .seed
            .unwrap_or_else(|| (js_sys::Math::random() * f64::from(u32::MAX)) as u32),
    }
}

fn reason(reason: engine::Reason) -> Reason {
    match reason {
        engine::Reason::EndOfText | engine::Reason::StopString => Reason::EndOfText,
        engine::Reason::Length => Reason::Length,
        engine::Reason::ContextFull => Reason::ContextFull,
        engine::Reason::Stopped => Reason::Stopped,
    }
}

fn stats(finished: &engine::Finished) -> Stats {
    Stats {
        n_prompt: finished.n_prompt as u32,
        n_reused: finished.n_reused as u32,
        n_generated: finished.n_generated as u32,
        prefill_ms: finished.prefill_ms,
        decode_ms: finished.decode_ms,
        memory_bytes: memory_bytes(),
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
        dispatches_per_token: info.dispatches_per_token.map(|n| n as u32),
        memory_bytes: memory_bytes(),
    }
}

/// Size of this program's memory; it only ever grows, so this is its peak.
fn memory_bytes() -> u64 {
    let memory: WebAssembly::Memory = wasm_bindgen::memory().unchecked_into();
    memory
        .buffer()
        .unchecked_into::<js_sys::ArrayBuffer>()
        .byte_length()
        .into()
}

/// A panic is followed by the rejection of the job's promise: the first of them says more.
fn crash(message: String) {
    static CRASHED: AtomicBool = AtomicBool::new(false);
    if !CRASHED.swap(true, Ordering::Relaxed) {
        send(&Event::Crashed { message });
    }
}

fn send(event: &Event) {
    let json = serde_json::to_string(event).expect("events are plain data");
    if let Err(e) = scope().post_message(&json.into()) {
        web_sys::console::error_1(&e);
    }
}

fn scope() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}
