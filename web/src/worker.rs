//! The worker: owns the engine, does one job after the other, and hears "stop" in between.
//! `load` gets models, `generate` answers, `measure` times them, `crew` has other workers help.

mod crew;
mod generate;
mod load;
mod measure;

use crate::protocol::{BUILD, Event, JobId, Request};
use crate::storage;
use engine::Engine;
use js_sys::{RangeError, WebAssembly};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::{
    AbortController, DedicatedWorkerGlobalScope, File, MessageEvent, PromiseRejectionEvent,
};

/// Runs in a worker: listens to the page, or helps another worker to multiply.
pub fn start() {
    std::panic::set_hook(Box::new(|info| {
        console_error_panic_hook::hook(info);
        let text = info.payload_as_str().unwrap_or("for an unknown reason");
        crash(text.to_owned());
    }));
    if crew::is_member() {
        return crew::join();
    }
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
    crew: crew::Roster,
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

    /// The model, for a job that needs one; where there is none, the page is told.
    fn take_engine(&self, id: JobId) -> Option<Engine> {
        let engine = self.engine.borrow_mut().take();
        if engine.is_none() {
            send(&Event::Failed {
                id,
                message: "no model is loaded; load one and try again".to_owned(),
                model_usable: false,
            });
        }
        engine
    }

    /// Keeps the model for the next job, unless what came of this one says that it is of no more use.
    fn put_back(&self, engine: Engine, outcome: &Event) {
        let lost = matches!(
            outcome,
            Event::Failed {
                model_usable: false,
                ..
            }
        );
        *self.engine.borrow_mut() = (!lost).then_some(engine);
    }

    async fn handle(&self, request: Request, files: Vec<File>) {
        match request {
            Request::Catalog { site } => send(&catalog(&site).await),
            Request::Load {
                id,
                model,
                backend,
                context,
                precision,
                threads,
            } => {
                // The old model's memory is for the new one.
                *self.engine.borrow_mut() = None;
                let options = load::options(backend, context, precision);
                send(&self.load(id, &model, files, threads, options).await);
            }
            Request::Generate {
                id,
                messages,
                sampling,
                max_tokens,
            } => {
                self.generate(id, messages, sampling, max_tokens).await;
            }
            Request::Measure { id } => self.measure(id).await,
            Request::Unload => {
                *self.engine.borrow_mut() = None;
                self.crew.dismiss();
            }
            Request::Forget => storage::forget().await,
            Request::Stop { .. } => unreachable!("seen on arrival"),
        }
    }
}

/// The models that can be had: without a catalog, those that are on this device.
async fn catalog(site: &str) -> Event {
    // On its way while the device is looked at.
    let fetched = storage::fetch_catalog();
    let stored = storage::repositories(site).await;
    match storage::catalog(fetched, site).await {
        Err(message) if stored.is_empty() => Event::NoCatalog { message },
        catalog => {
            let mut models = catalog.unwrap_or_default();
            for offer in stored {
                if models.iter().all(|m| m.model.place != offer.model.place) {
                    models.push(offer);
                }
            }
            Event::Catalog { models }
        }
    }
}

fn flow(go_on: bool) -> ControlFlow<()> {
    if go_on {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(())
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
