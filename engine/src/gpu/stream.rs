//! Reading a buffer for the sake of it: how fast weights can be read, at most. The CPU's twin is `cpu::stream`.

use std::collections::HashMap;

use wgpu::{Buffer, BufferUsages, CommandEncoderDescriptor};

use super::backend::read;
use super::call::{Call, bindings, kernel};
use super::device::Gpu;
use super::plan::Buf;
use super::schedule::{self, Dispatch, encode};
use super::signal::settle;
use crate::Result;

const WG: usize = 256;
/// Vectors of 4 words that an invocation reads. Mirrors `EACH` in shaders/stream.wgsl.
const EACH: usize = 16;

/// A buffer on the GPU, and the dispatch that reads it.
#[derive(Debug)]
pub struct Stream {
    gpu: Gpu,
    dispatch: Dispatch,
    buffers: HashMap<Buf, Buffer>,
}

/// The dispatch that reads `n_words`, a multiple of 4.
pub fn call(n_words: usize) -> Call {
    let len = n_words / 4;
    let constants = vec![("WG", WG as f64), ("LEN", len as f64)];
    Call {
        kernel: kernel(&["step", "stream"], constants),
        bindings: bindings(&[Buf::Quants(0)], &[Buf::Slot(0)]),
        groups: len.div_ceil(WG * EACH) as u32,
        blocks: None,
    }
}

impl Stream {
    /// A buffer of `n_words`, a multiple of 4, that holds `word(0)`, `word(1)`, …
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory), [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub async fn new(gpu: &Gpu, n_words: usize, word: impl Fn(usize) -> u32) -> Result<Self> {
        assert!(n_words.is_multiple_of(4), "{n_words} words");
        let call = call(n_words);
        let bytes = n_words as u64 * 4;
        let make = || {
            let storage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
            let uniform = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
            let sums = call.groups as u64 * WG as u64 * 4;
            let buffers = HashMap::from([
                (Buf::Step, gpu.buffer("the step", 16, uniform)?),
                (
                    Buf::Quants(0),
                    gpu.buffer("a buffer to read", bytes, storage)?,
                ),
                (Buf::Slot(0), gpu.buffer("sums", sums, storage)?),
            ]);
            let dispatch = schedule::dispatch(gpu, &call, &buffers);
            Ok((dispatch, buffers))
        };
        let (dispatch, buffers) = gpu.guarded("a buffer to read", bytes, make).await?;
        const PIECE: usize = 1 << 20;
        for start in (0..n_words).step_by(PIECE) {
            let piece: Vec<u32> = (start..n_words.min(start + PIECE)).map(&word).collect();
            gpu.queue.write_buffer(
                &buffers[&Buf::Quants(0)],
                start as u64 * 4,
                bytemuck::cast_slice(&piece),
            );
        }
        Ok(Self {
            gpu: gpu.clone(),
            dispatch,
            buffers,
        })
    }

    /// Reads the whole buffer so many times, and waits until that is done.
    ///
    /// # Errors
    /// When the GPU was lost.
    pub async fn read(&self, times: u32) -> Result<()> {
        let descriptor = CommandEncoderDescriptor::default();
        let mut encoder = self.gpu.device.create_command_encoder(&descriptor);
        let once = std::slice::from_ref(&self.dispatch);
        encode(&mut encoder, &vec![once; times as usize], 1, 1);
        self.gpu.queue.submit([encoder.finish()]);
        settle(&self.gpu).await
    }

    /// The sum of all words, wrapping, after a [`Stream::read`].
    ///
    /// # Errors
    /// When the GPU was lost.
    pub async fn sum(&self) -> Result<u32> {
        let sums: Vec<u32> = read(&self.gpu, &self.buffers[&Buf::Slot(0)]).await?;
        Ok(sums.into_iter().fold(0, u32::wrapping_add))
    }
}
