//! Where a program runs: the CPU or a GPU, behind one set of calls.

use crate::{Result, cpu::CpuBackend, formats::Rows, gpu::GpuBackend, sampler::Sampling};

/// A closed choice: two executors of the same program.
#[derive(Debug)]
pub enum Backend {
    /// The interpreter.
    Cpu(Box<CpuBackend>),
    /// The compiled schedule.
    Gpu(Box<GpuBackend>),
}

impl Backend {
    /// Puts some rows of a weight in place.
    ///
    /// # Errors
    /// When the GPU was lost.
    pub fn upload(&mut self, weight: usize, rows: &Rows) -> Result<()> {
        match self {
            Backend::Cpu(cpu) => {
                cpu.upload(weight, rows);
                Ok(())
            }
            Backend::Gpu(gpu) => gpu.upload(weight, rows),
        }
    }

    /// Tokens that one [`Backend::prefill`] takes at most.
    pub fn chunk(&self) -> usize {
        match self {
            Backend::Cpu(cpu) => cpu.chunk(),
            Backend::Gpu(gpu) => gpu.chunk(),
        }
    }

    /// Submits worth queueing before the oldest draws are fetched. The CPU works while it is asked, so a step
    /// ahead would only delay the token that is ready.
    pub fn submits_ahead(&self) -> usize {
        match self {
            Backend::Cpu(_) => 0,
            Backend::Gpu(_) => 3,
        }
    }

    /// Starts a request: sampling settings and the tokens already seen, a bitset `[vocab / 32]`.
    pub fn begin(&mut self, sampling: &Sampling, seen: &[u32]) {
        match self {
            Backend::Cpu(cpu) => cpu.begin(sampling, seen),
            Backend::Gpu(gpu) => gpu.begin(sampling, seen),
        }
    }

    /// Runs up to `chunk()` prompt tokens from position `pos`; with `sample`, queues a draw as well.
    ///
    /// # Errors
    /// When the GPU was lost.
    pub fn prefill(&mut self, pos: usize, tokens: &[u32], sample: bool) -> Result<()> {
        match self {
            Backend::Cpu(cpu) => {
                cpu.prefill(pos, tokens, sample);
                Ok(())
            }
            Backend::Gpu(gpu) => gpu.prefill(pos, tokens, sample),
        }
    }

    /// Runs the token drawn last at position `pos` and queues the next draw; on a GPU, more of them as one submit, `most`
    /// at most. Says how many.
    ///
    /// # Errors
    /// When the GPU was lost.
    pub fn decode(&mut self, pos: usize, most: usize) -> Result<usize> {
        match self {
            Backend::Cpu(cpu) => {
                cpu.decode(pos);
                Ok(1)
            }
            Backend::Gpu(gpu) => gpu.decode(pos, most),
        }
    }

    /// Waits for the work queued so far, so that progress is told when it is made.
    ///
    /// # Errors
    /// [`Error::NoGpu`](crate::Error::NoGpu) if the GPU's driver refused a kernel; when the GPU was lost.
    pub async fn settle(&mut self) -> Result<()> {
        match self {
            Backend::Cpu(_) => Ok(()),
            Backend::Gpu(gpu) => gpu.settle().await,
        }
    }

    /// The oldest draw that was not fetched yet, and those that were queued with it.
    ///
    /// # Errors
    /// When the GPU was lost.
    pub async fn drawn(&mut self) -> Result<Vec<u32>> {
        match self {
            Backend::Cpu(cpu) => Ok(vec![cpu.drawn()]),
            Backend::Gpu(gpu) => gpu.drawn().await,
        }
    }

    /// How many submits have draws that wait to be fetched.
    pub fn in_flight(&self) -> usize {
        match self {
            Backend::Cpu(cpu) => cpu.in_flight(),
            Backend::Gpu(gpu) => gpu.in_flight(),
        }
    }

    /// Forgets draws that were not fetched.
    pub fn discard(&mut self) {
        match self {
            Backend::Cpu(cpu) => cpu.discard(),
            Backend::Gpu(gpu) => gpu.discard(),
        }
    }

    /// The last head's logits, `[vocab]`, before penalties.
    ///
    /// # Errors
    /// When the GPU was lost.
    pub async fn logits(&mut self) -> Result<Vec<f32>> {
        match self {
            Backend::Cpu(cpu) => Ok(cpu.logits().to_vec()),
            Backend::Gpu(gpu) => gpu.logits().await,
        }
    }

    /// Dispatches that one decoded token costs, sampling included; none on the CPU.
    pub fn dispatches_per_token(&self) -> Option<usize> {
        match self {
            Backend::Cpu(_) => None,
            Backend::Gpu(gpu) => Some(gpu.dispatches_per_token()),
        }
    }
}
