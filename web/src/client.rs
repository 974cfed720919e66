//! Owns the worker: starts it, sends requests, brings its events, and starts another when it broke.

use crate::protocol::{Event, ModelRef, Request};
use js_sys::Array;
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{ErrorEvent, File, MessageEvent, Worker, WorkerOptions, WorkerType};

/// The page's end of the protocol. Clones share one worker.
#[derive(Clone)]
pub struct Client {
    inner: Rc<RefCell<Inner>>,
    on_event: Rc<dyn Fn(Event)>,
}

#[derive(Default)]
struct Inner {
    worker: Option<Running>,
    /// Requests from before the worker listened.
    waiting: Vec<Request>,
    /// What a local model is loaded from.
    files: Vec<File>,
}

struct Running {
    worker: Worker,
    listens: bool,
    _on_message: Closure<dyn Fn(MessageEvent)>,
    _on_error: Closure<dyn Fn(ErrorEvent)>,
}

impl Client {
    /// Calls `on_event` with each event; starts no worker yet.
    pub fn new(on_event: impl Fn(Event) + 'static) -> Self {
        Self {
            inner: Rc::default(),
            on_event: Rc::new(on_event),
        }
    }

    /// The files behind the next load of a local model.
    pub fn set_files(&self, files: Vec<File>) {
        self.inner.borrow_mut().files = files;
    }

    /// Sends a request, as soon as there is a worker that listens.
    pub fn send(&self, request: Request) {
        if self.inner.borrow().worker.is_none()
            && let Err(e) = self.start()
        {
            let message = format!("the worker could not be started: {}", describe(&e));
            return (self.on_event)(Event::Crashed { message });
        }
        let mut inner = self.inner.borrow_mut();
        match &inner.worker {
            Some(running) if running.listens => post(&running.worker, &request, &inner.files),
            _ => inner.waiting.push(request),
        }
    }

    /// Ends the worker; the next request starts another.
    pub fn drop_worker(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.waiting.clear();
        if let Some(running) = inner.worker.take() {
            running.worker.set_onmessage(None);
            running.worker.set_onerror(None);
            running.worker.terminate();
        }
    }

    fn start(&self) -> Result<(), JsValue> {
        let (worker, said) = match early_worker() {
            Some(early) => early,
            None => {
                let options = WorkerOptions::new();
                options.set_type(WorkerType::Module);
                let worker = Worker::new_with_options(&loader_url(), &options)?;
                (worker, Array::new())
            }
        };
        let client = self.clone();
        let on_message = Closure::<dyn Fn(MessageEvent)>::new(move |message: MessageEvent| {
            client.hear(&message.data());
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        let client = self.clone();
        let on_error = Closure::<dyn Fn(ErrorEvent)>::new(move |error: ErrorEvent| {
            // A script that could not be fetched has an event without a message.
            let message = js_sys::Reflect::get(&error, &"message".into())
                .ok()
                .and_then(|m| m.as_string());
            let message = message.unwrap_or_else(|| "its program could not be loaded".to_owned());
            client.receive(Event::Crashed { message });
        });
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        self.inner.borrow_mut().worker = Some(Running {
            worker,
            listens: false,
            _on_message: on_message,
            _on_error: on_error,
        });
        said.iter().for_each(|message| self.hear(&message));
        Ok(())
    }

    fn hear(&self, message: &JsValue) {
        let text = message.as_string().unwrap_or_default();
        match serde_json::from_str::<Event>(&text) {
            Ok(event) => self.receive(event),
            Err(e) => web_sys::console::error_1(&format!("unreadable event: {e}: {text}").into()),
        }
    }

    fn receive(&self, event: Event) {
        if matches!(event, Event::Hello { .. }) {
            let mut inner = self.inner.borrow_mut();
            let waiting = std::mem::take(&mut inner.waiting);
            let Inner { worker, files, .. } = &mut *inner;
            if let Some(running) = worker {
                running.listens = true;
                for request in &waiting {
                    post(&running.worker, request, files);
                }
            }
        }
        (self.on_event)(event);
    }
}

/// Sends `[json, File…]`; only the load of a local model carries files.
fn post(worker: &Worker, request: &Request, files: &[File]) {
    let json = serde_json::to_string(request).expect("requests are plain data");
    let message = Array::of1(&json.into());
    if matches!(
        request,
        Request::Load {
            model: ModelRef::Local { .. },
            ..
        }
    ) {
        for file in files {
            message.push(file);
        }
    }
    if let Err(e) = worker.post_message(&message) {
        web_sys::console::error_2(&"the worker could not be reached".into(), &e);
    }
}

/// The worker that index.html has started, and what it has said since; there is one once.
fn early_worker() -> Option<(Worker, Array)> {
    let (window, name) = (web_sys::window()?, "thimbleWorker".into());
    let early: Array = js_sys::Reflect::get(&window, &name).ok()?.dyn_into().ok()?;
    js_sys::Reflect::set(&window, &name, &JsValue::UNDEFINED).ok()?;
    Some((early.get(0).dyn_into().ok()?, early.get(1).dyn_into().ok()?))
}

/// The worker's program: index.html knows which of the two, by a name that changes with each build.
fn loader_url() -> String {
    let chosen = js_sys::Reflect::get(&js_sys::global(), &"thimbleLoader".into());
    let chosen = chosen.ok().and_then(|url| url.as_string());
    chosen.unwrap_or_else(|| "./worker_loader.js".to_owned())
}

/// What a JavaScript exception says.
pub fn describe(e: &JsValue) -> String {
    e.dyn_ref::<js_sys::Error>()
        .map(|e| String::from(e.message()))
        .or_else(|| e.as_string())
        .unwrap_or_else(|| format!("{e:?}"))
}
