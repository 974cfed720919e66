//! Waiting for the GPU, natively and in a browser with one body.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use wgpu::{PollType, SubmissionIndex};

use super::device::Gpu;
use crate::{Result, platform};

/// Fires once, from a callback of wgpu.
#[derive(Debug, Clone, Default)]
pub(super) struct Signal {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether what was waited for succeeded.
    outcome: Option<bool>,
    waker: Option<Waker>,
}

/// Waits for all that was submitted.
///
/// # Errors
/// When the device was lost.
pub(super) async fn settle(gpu: &Gpu) -> Result<()> {
    let index = gpu.queue.submit([]);
    let done = Signal::default();
    let fire = done.clone();
    gpu.queue.on_submitted_work_done(move || fire.fire(true));
    done.wait(gpu, &index).await
}

impl Signal {
    /// Wakes who waits.
    pub fn fire(&self, success: bool) {
        let mut state = self.state.lock().expect("no panic under the lock");
        state.outcome = Some(success);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Waits until the signal fires, which it does when the GPU is done with `index`.
    ///
    /// # Errors
    /// When the device was lost.
    pub async fn wait(&self, gpu: &Gpu, index: &SubmissionIndex) -> Result<()> {
        loop {
            // Natively this blocks until the work is done and callbacks ran; in a browser it does nothing.
            let wait = PollType::Wait {
                submission_index: Some(index.clone()),
                timeout: None,
            };
            gpu.device.poll(wait).map_err(|e| gpu.lost(e))?;
            match self.fired_within(gpu.nudge_ms).await {
                Some(true) => return gpu.check(),
                Some(false) => return Err(gpu.lost("it did not give its results back")),
                None => {
                    gpu.check()?;
                    gpu.queue.submit([]);
                }
            }
        }
    }

    async fn fired_within(&self, ms: u32) -> Option<bool> {
        let mut timer = pin!(platform::sleep_ms(ms));
        poll_fn(|context| {
            let mut state = self.state.lock().expect("no panic under the lock");
            if state.outcome.is_some() {
                return Poll::Ready(state.outcome);
            }
            state.waker = Some(context.waker().clone());
            drop(state);
            timer.as_mut().poll(context).map(|()| None)
        })
        .await
    }
}
