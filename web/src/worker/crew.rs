//! Other workers that multiply with this one: each runs this same program and has a memory of its own, and they share
//! the engine's desk. It takes a page that is isolated from others (web/assets/service-worker.js).

use super::scope;
use engine::{Crew, cpu::Desk, cpu::serve};
use js_sys::{Array, Promise};
use std::cell::RefCell;
use std::ops::RangeInclusive;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{MessageEvent, Worker, WorkerOptions, WorkerType};

/// By this name a worker knows that it is one of a crew.
const NAME: &str = "thimble-thread";
/// What it says when it listens.
const READY: &str = "ready";
/// Bytes of the models that get threads unasked. Smaller ones gain nothing from them (docs/performance.md), and of larger
/// ones the rows that lie in two memories may be more than a phone has.
const WORTH: RangeInclusive<u64> = 32 << 20..=512 << 20;
/// Threads at most, unasked: phones have slow cores beside so many fast ones, and the fast would wait for the slow.
const UNASKED: u32 = 4;

/// The crew that is there; it stays from one model to the next.
#[derive(Default)]
pub struct Roster {
    present: RefCell<Option<(Crew, Vec<Worker>)>>,
}

impl Roster {
    /// A crew of so many threads, or of as many as suit a model of so many bytes; none where one thread is all there can
    /// be.
    pub async fn ready(&self, threads: Option<u32>, model_bytes: u64) -> Option<Crew> {
        let n_members = threads.unwrap_or_else(|| unasked(model_bytes)).clamp(1, 16) as usize;
        if let Some((crew, _)) = &*self.present.borrow()
            && crew.n_members() == n_members
        {
            return Some(crew.clone());
        }
        self.dismiss();
        if n_members == 1 || !is_isolated() {
            return None;
        }
        let desk = Desk::default();
        let mut workers = Vec::new();
        for member in 1..n_members {
            match hire(&desk, member, n_members).await {
                Ok(worker) => workers.push(worker),
                Err(e) => {
                    web_sys::console::warn_2(&"a thread could not be started".into(), &e);
                    workers.iter().for_each(Worker::terminate);
                    return None;
                }
            }
        }
        let crew = Crew::at(desk, n_members);
        *self.present.borrow_mut() = Some((crew.clone(), workers));
        Some(crew)
    }

    /// Ends its workers. No model may be in their memory any more.
    pub fn dismiss(&self) {
        if let Some((_, workers)) = self.present.take() {
            workers.iter().for_each(Worker::terminate);
        }
    }
}

/// Half of the cores: the page draws, other programs run, and many machines count each core twice.
fn unasked(model_bytes: u64) -> u32 {
    let n_cores = scope().navigator().hardware_concurrency() as u32;
    match WORTH.contains(&model_bytes) {
        true => (n_cores / 2).clamp(1, UNASKED),
        false => 1,
    }
}

/// Whether memory may be shared between workers.
fn is_isolated() -> bool {
    let isolated = js_sys::Reflect::get(&scope(), &"crossOriginIsolated".into());
    isolated.is_ok_and(|isolated| isolated.is_truthy())
}

/// Starts a worker, waits until it listens, and sends it to the desk.
async fn hire(desk: &Desk, member: usize, n_members: usize) -> Result<Worker, JsValue> {
    let options = WorkerOptions::new();
    options.set_type(WorkerType::Module);
    options.set_name(NAME);
    let worker = Worker::new_with_options(&scope().location().href(), &options)?;
    let first = Promise::new(&mut |resolve, _| {
        worker.set_onmessage(Some(&resolve));
        worker.set_onerror(Some(&resolve));
    });
    let said = JsFuture::from(first).await?;
    let said: MessageEvent = said.dyn_into()?;
    if said.data() != READY {
        return Err(said.data());
    }
    let place = Array::of3(&desk.buffer(), &member.into(), &n_members.into());
    worker.post_message(&place)?;
    Ok(worker)
}

/// Whether this worker is one of a crew.
pub fn is_member() -> bool {
    scope().name() == NAME
}

/// Goes to the desk that it is sent to, and stays.
pub fn join() {
    let on_message = Closure::once_into_js(|message: MessageEvent| {
        let place = Array::from(&message.data());
        let number = |i| place.get(i).as_f64().unwrap_or_default() as usize;
        serve(&Desk::of_buffer(&place.get(0)), number(1), number(2));
        scope().close();
    });
    scope().set_onmessage(Some(on_message.unchecked_ref()));
    if let Err(e) = scope().post_message(&READY.into()) {
        web_sys::console::error_1(&e);
    }
}
