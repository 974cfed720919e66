//! A program on the GPU: upload once, then prefill and decode without waiting.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use bytemuck::Pod;
use wgpu::{
    Buffer, BufferDescriptor, BufferUsages, CommandEncoderDescriptor, MapMode, SubmissionIndex,
};

use super::device::{Gpu, Verdict};
use super::options::{GpuOptions, target};
use super::pace::{MOST_STEPS, Pace};
use super::plan::{Buf, Plan};
use super::schedule::{Dispatch, STEP_STRIDE, Schedule, allocate, encode};
use super::signal::{Signal, settle};
use crate::formats::{Row, Rows, WeightInfo};
use crate::op::{Act, Cache, Step};
use crate::program::Program;
use crate::sampler::Sampling;
use crate::{Error, Result, platform};
use half::f16;

/// Submits with draws that can be queued before one's must be fetched.
pub const MAX_IN_FLIGHT: usize = 8;

/// A compiled program with its weights, caches and activations.
#[derive(Debug)]
pub struct GpuBackend {
    gpu: Gpu,
    plan: Plan,
    weights: Vec<WeightInfo>,
    buffers: HashMap<Buf, Buffer>,
    schedule: Schedule,
    /// What becomes of its pipelines, until someone has asked: a browser compiles them while weights are read.
    compiled: Option<Verdict>,
    /// Where a submit's draws are copied to, `[MOST_STEPS]` tokens each.
    ring: Vec<Buffer>,
    /// Indices into `ring` that nothing is under way to.
    free: Vec<usize>,
    queued: VecDeque<Draws>,
    pace: Pace,
}

/// A submit's draws on their way back.
#[derive(Debug)]
struct Draws {
    at: usize,
    /// Positions of the tokens that they follow.
    after: Range<usize>,
    /// When a submit of decoding was queued; a prompt says nothing about the next step.
    queued_ms: Option<f64>,
    mapped: Signal,
    index: SubmissionIndex,
}

impl GpuBackend {
    /// Compiles `program` and allocates everything that it will ever need; `weights[id]` describes weight
    /// `id`. The bytes come through [`GpuBackend::upload`].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::DeviceLost`], and [`Error::BadConfig`] for sizes that no kernel can do. Whether
    /// the driver refuses a kernel, [`GpuBackend::settle`] tells.
    pub async fn new(
        gpu: &Gpu,
        program: &Program,
        weights: &[WeightInfo],
        context: usize,
        options: GpuOptions,
    ) -> Result<Self> {
        gpu.check()?;
        check_heads(program)?;
        let plan = Plan::new(program, weights, context, target(gpu, options));
        let cols: Vec<usize> = weights.iter().map(|info| info.cols).collect();
        let buffers = gpu
            .guarded("the model", plan.bytes(), || allocate(gpu, &plan, &cols))
            .await?;
        let make = || Schedule::new(gpu, &plan, &buffers);
        let (schedule, compiled) = gpu.judged("a kernel", 0, make);
        let usage = BufferUsages::MAP_READ | BufferUsages::COPY_DST;
        let ring = (0..MAX_IN_FLIGHT)
            .map(|_| gpu.buffer("drawn tokens", 4 * MOST_STEPS as u64, usage))
            .collect::<Result<_>>()?;
        Ok(Self {
            gpu: gpu.clone(),
            plan,
            weights: weights.to_vec(),
            buffers,
            schedule,
            compiled: Some(compiled),
            ring,
            free: (0..MAX_IN_FLIGHT).collect(),
            queued: VecDeque::new(),
            pace: Pace::new(options.steps),
        })
    }

    /// Tokens that one [`GpuBackend::prefill`] takes at most.
    pub fn chunk(&self) -> usize {
        self.plan.chunk
    }

    /// Dispatches of a decoded token, the draw included.
    pub fn dispatches_per_token(&self) -> usize {
        self.schedule.decode.body.len() + self.schedule.decode.head.len()
    }

    /// Puts some rows of a weight in place. `row0` and, except at the end, `n_rows` are even.
    ///
    /// # Errors
    /// When the GPU was lost.
    pub fn upload(&mut self, weight: usize, rows: &Rows) -> Result<()> {
        self.gpu.check()?;
        let info = &self.weights[weight];
        if self.plan.is_vector[weight] {
            let values = widen(info, rows);
            self.write(Buf::Vector(weight), 0, bytemuck::cast_slice(&values));
            return Ok(());
        }
        let quants_bytes = info.format.row_quants_bytes(info.cols);
        let scales_bytes = info.format.row_scales_bytes(info.cols);
        for piece in &self.plan.pieces[weight] {
            let first = rows.row0.max(piece.rows.start);
            let end = (rows.row0 + rows.n_rows).min(piece.rows.end);
            if first >= end {
                continue;
            }
            let at = piece.at + first - piece.rows.start;
            let from = first - rows.row0..end - rows.row0;
            let cut = |bytes| from.start * bytes..from.end * bytes;
            let part = piece.part;
            self.write(
                Buf::Quants(part),
                self.plan.parts[part].quants_at(at),
                &rows.quants[cut(quants_bytes)],
            );
            if scales_bytes > 0 {
                self.write(
                    Buf::Scales(part),
                    self.plan.parts[part].scales_at(at),
                    &rows.scales[cut(scales_bytes)],
                );
            }
        }
        Ok(())
    }

    /// Starts a request: its sampling settings, and the tokens `seen` by the repetition penalty, a bitset
    /// `[vocab / 32]`.
    pub fn begin(&mut self, sampling: &Sampling, seen: &[u32]) {
        assert_eq!(
            seen.len(),
            self.plan.logits.width.div_ceil(32),
            "words of the bitset"
        );
        self.write(Buf::Sampling, 0, bytemuck::bytes_of(sampling));
        self.write(Buf::Seen, 0, bytemuck::cast_slice(seen));
    }

    /// Runs up to `chunk()` prompt tokens from position `pos`; with `sample`, the head too, and a draw is
    /// queued.
    ///
    /// # Errors
    /// When the GPU was lost.
    pub fn prefill(&mut self, pos: usize, tokens: &[u32], sample: bool) -> Result<()> {
        let n = tokens.len();
        assert!(
            (1..=self.plan.chunk).contains(&n),
            "{n} tokens in a chunk of {}",
            self.plan.chunk
        );
        self.gpu.check()?;
        self.write(Buf::Tokens, 0, bytemuck::cast_slice(tokens));
        self.submit(pos, n, 1, sample, None)
    }

    /// Runs the token that was drawn last, at position `pos`, then each that is drawn from it, `most` at most, and
    /// queues their draws as one. Says how many.
    ///
    /// # Errors
    /// When the GPU was lost.
    pub fn decode(&mut self, pos: usize, most: usize) -> Result<usize> {
        self.gpu.check()?;
        let n_steps = self.pace.steps().min(most);
        self.submit(pos, 1, n_steps, true, Some(platform::now_ms()))?;
        Ok(n_steps)
    }

    /// The oldest draws that were queued as one and not fetched yet.
    ///
    /// # Errors
    /// When the GPU was lost.
    pub async fn drawn(&mut self) -> Result<Vec<u32>> {
        let draws = self.queued.front().expect("draws are fetched once");
        draws.mapped.wait(&self.gpu, &draws.index).await?;
        if let Some(queued_ms) = draws.queued_ms {
            self.pace
                .came_back(draws.after.len(), queued_ms, platform::now_ms());
        }
        let buffer = &self.ring[draws.at];
        let tokens = {
            let view = buffer.get_mapped_range(..).map_err(|e| self.gpu.lost(e))?;
            let places: Vec<u32> = bytemuck::pod_collect_to_vec(&view);
            let token = |after: usize| places[after % MOST_STEPS];
            draws.after.clone().map(token).collect()
        };
        buffer.unmap();
        self.free.push(draws.at);
        self.queued.pop_front();
        Ok(tokens)
    }

    /// How many submits have draws that wait to be fetched; at most [`MAX_IN_FLIGHT`].
    pub fn in_flight(&self) -> usize {
        self.queued.len()
    }

    /// Forgets draws that were not fetched. What they wrote to the caches stays, and is written over when
    /// their positions are run again.
    pub fn discard(&mut self) {
        for draws in self.queued.drain(..) {
            self.ring[draws.at].unmap();
            self.free.push(draws.at);
        }
    }

    /// Waits for all that was queued, pipelines included.
    ///
    /// # Errors
    /// [`Error::NoGpu`] if the driver refused a kernel; when the GPU was lost.
    pub async fn settle(&mut self) -> Result<()> {
        if let Some(compiled) = self.compiled.take() {
            compiled.await?;
        }
        settle(&self.gpu).await
    }

    /// The last head's logits `[vocab]`, before penalties.
    ///
    /// # Errors
    /// When the GPU was lost.
    pub async fn logits(&mut self) -> Result<Vec<f32>> {
        let logits = self.plan.logits;
        let mut values = self.activation(logits).await?;
        values.truncate(logits.width);
        Ok(values)
    }

    /// The whole buffer of an activation: `[n, width]`, while it still holds it, then whatever was there
    /// before. For tests.
    ///
    /// # Errors
    /// When the GPU was lost.
    pub async fn activation(&mut self, act: Act) -> Result<Vec<f32>> {
        let slot = self.plan.slot_of[act.id].expect("an activation that was fused away");
        self.read(Buf::Slot(slot)).await
    }

    /// A whole cache, `[context, width]`, and what lies past it. For tests.
    ///
    /// # Errors
    /// When the GPU was lost.
    pub async fn cache(&mut self, cache: Cache) -> Result<Vec<f32>> {
        let mut values = self.read(Buf::Cache(cache.id)).await?;
        if self.plan.halves[cache.id] {
            let halves: &[[u8; 2]] = bytemuck::cast_slice(&values);
            let widened = halves.iter().map(|half| f16::from_le_bytes(*half).to_f32());
            values = widened.collect();
        }
        let (context, head_dim) = (self.plan.context, self.plan.head_dims[cache.id]);
        let kept = values.clone();
        let heads = kept[..context * cache.width].chunks_exact(context * head_dim);
        for (head, rows) in heads.enumerate() {
            for (pos, row) in rows.chunks_exact(head_dim).enumerate() {
                let at = pos * cache.width + head * head_dim;
                values[at..][..head_dim].copy_from_slice(row);
            }
        }
        Ok(values)
    }

    /// Overwrites every activation and cache, so that a test sees what a kernel leaves alone.
    pub fn fill(&mut self, value: f32) {
        for (buf, buffer) in &self.buffers {
            if matches!(buf, Buf::Slot(_) | Buf::Cache(_)) {
                let word = match buf {
                    Buf::Cache(id) if self.plan.halves[*id] => {
                        u32::from(f16::from_f32(value).to_bits()) * 0x1_0001
                    }
                    _ => value.to_bits(),
                };
                let words = vec![word; buffer.size() as usize / 4];
                self.gpu
                    .queue
                    .write_buffer(buffer, 0, bytemuck::cast_slice(&words));
            }
        }
    }

    /// Queues steps of `n` tokens each, of which the first lie in the token buffer; with `sample`, their heads and
    /// draws. `queued_ms` as in [`Draws`].
    fn submit(
        &mut self,
        pos: usize,
        n: usize,
        n_steps: usize,
        sample: bool,
        queued_ms: Option<f64>,
    ) -> Result<()> {
        let end = pos + n_steps * n;
        assert!(
            end <= self.plan.context,
            "{n_steps} x {n} tokens at {pos} of {}",
            self.plan.context
        );
        let mut steps = [0; MOST_STEPS * STEP_STRIDE];
        for (place, pos) in steps.chunks_mut(STEP_STRIDE).zip((pos..end).step_by(n)) {
            let step = Step {
                pos: pos as u32,
                n: n as u32,
            };
            place[..size_of::<Step>()].copy_from_slice(bytemuck::bytes_of(&step));
        }
        self.write(Buf::Step, 0, &steps[..n_steps * STEP_STRIDE]);
        let phase = if n == 1 {
            &self.schedule.decode
        } else {
            &self.schedule.prefill
        };
        let head: &[Dispatch] = if sample { &phase.head } else { &[] };
        let mut encoder = self
            .gpu
            .device
            .create_command_encoder(&CommandEncoderDescriptor::default());
        encode(&mut encoder, &[&phase.body, head], n as u32, n_steps);
        if !sample {
            self.gpu.queue.submit([encoder.finish()]);
            return Ok(());
        }
        let at = self
            .free
            .pop()
            .expect("draws are fetched before MAX_IN_FLIGHT are queued");
        let (from, to) = (&self.buffers[&Buf::Tokens], &self.ring[at]);
        encoder.copy_buffer_to_buffer(from, 4 * self.plan.chunk as u64, to, 0, to.size());
        let index = self.gpu.queue.submit([encoder.finish()]);
        let mapped = map(&self.ring[at]);
        self.queued.push_back(Draws {
            at,
            after: end - n_steps..end,
            queued_ms,
            mapped,
            index,
        });
        Ok(())
    }

    /// Writes whole words; the last one is padded.
    fn write(&self, buf: Buf, offset: usize, bytes: &[u8]) {
        let whole = bytes.len() / 4 * 4;
        let (queue, buffer) = (&self.gpu.queue, &self.buffers[&buf]);
        assert!(offset.is_multiple_of(4), "rows are uploaded two by two");
        queue.write_buffer(buffer, offset as u64, &bytes[..whole]);
        if whole < bytes.len() {
            let mut last = [0; 4];
            last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
            queue.write_buffer(buffer, (offset + whole) as u64, &last);
        }
    }

    async fn read(&self, buf: Buf) -> Result<Vec<f32>> {
        read(&self.gpu, &self.buffers[&buf]).await
    }
}

/// A copy of a whole buffer.
pub(super) async fn read<T: Pod>(gpu: &Gpu, from: &Buffer) -> Result<Vec<T>> {
    let to = gpu.device.create_buffer(&BufferDescriptor {
        label: Some("a reading"),
        size: from.size(),
        usage: BufferUsages::MAP_READ | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let mut encoder = gpu
        .device
        .create_command_encoder(&CommandEncoderDescriptor::default());
    encoder.copy_buffer_to_buffer(from, 0, &to, 0, from.size());
    let index = gpu.queue.submit([encoder.finish()]);
    map(&to).wait(gpu, &index).await?;
    let view = to.get_mapped_range(..).map_err(|e| gpu.lost(e))?;
    Ok(bytemuck::pod_collect_to_vec(&view))
}

/// Asks for a buffer's contents; the signal fires when they are there.
fn map(buffer: &Buffer) -> Signal {
    let signal = Signal::default();
    let fire = signal.clone();
    buffer.map_async(MapMode::Read, .., move |result| fire.fire(result.is_ok()));
    signal
}

/// Attention reads heads four numbers at a time and keeps at most 256 of them.
fn check_heads(program: &Program) -> Result<()> {
    for op in &program.ops {
        if let crate::op::Op::Attention { heads, .. } = op
            && (heads.head_dim > 256 || !heads.head_dim.is_multiple_of(4))
        {
            return Err(Error::BadConfig {
                file: "the model".to_string(),
                problem: format!(
                    "attention heads are {} wide; on the GPU they are a multiple of 4, at most 256",
                    heads.head_dim
                ),
            });
        }
    }
    Ok(())
}

/// A norm weight or bias as floats: there is too little of it to be worth a format.
fn widen(info: &WeightInfo, rows: &Rows) -> Vec<f32> {
    assert_eq!((rows.row0, rows.n_rows), (0, 1), "a vector has one row");
    let mut values = vec![0.0; info.cols];
    let row = Row {
        quants: &rows.quants,
        scales: &rows.scales,
    };
    info.format.unpack(row, &mut values);
    values
}
