//! From an opened checkpoint to a backend that holds its weights.

use crate::{
    Error, Result,
    backend::Backend,
    calibrate::{self, Found},
    checkpoint::{Checkpoint, Recording},
    cpu::{CpuBackend, CpuOptions, Crew},
    engine::{BackendChoice, LoadOptions},
    formats::{Rows, WeightInfo},
    gpu::{Gpu, GpuBackend, GpuOptions},
    platform,
    program::Program,
    session::Session,
    weights::{
        loader,
        precision::{self, Precision},
    },
};
use serde_json::{Map, Value};
use std::ops::ControlFlow;

/// How far loading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read and packed.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// What is being done.
    pub stage: Stage,
}

/// Steps of loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Which try it is at finding out how the files are to be read.
    Reading(usize),
    /// The weights come in; once they are there, the device gets ready.
    Weights,
    /// Both backends decode, to see which is faster.
    Race,
}

/// Everything that loading needs.
pub(crate) struct Loader<'a> {
    pub checkpoint: &'a Checkpoint,
    pub device: Device,
    pub precision: Precision,
    pub on_progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
}

impl Loader<'_> {
    /// The forward pass under some settings, with its weights' formats chosen.
    pub fn record(&self, settings: &Map<String, Value>) -> Result<Recording> {
        let mut recording = self.checkpoint.record(settings)?;
        precision::choose(self.precision, &recording.program, &mut recording.jobs);
        Ok(recording)
    }

    /// A session over a backend with the recording's weights in place.
    pub async fn load(&mut self, recording: &Recording, context: usize) -> Result<Session> {
        self.read(recording, context, Stage::Weights).await
    }

    /// Finds the settings that the files leave open, where they do.
    pub async fn calibrate(&mut self) -> Result<Option<Found>> {
        let checkpoint = self.checkpoint;
        let switches = checkpoint.switches()?;
        if switches.is_empty() {
            return Ok(None);
        }
        let tokens = checkpoint.tokenizer.encode(calibrate::TEXT, false)?;
        let tokens = calibrate::sample(&tokens);
        let vocab = self.record(&Map::new())?.program.vocab();
        let mut reading = 0;
        let mut evaluate = async |settings: &Map<String, Value>| {
            reading += 1;
            let recording = self.record(settings)?;
            let stage = Stage::Reading(reading);
            let mut session = self.read(&recording, tokens.len(), stage).await?;
            calibrate::judge(&mut session, tokens).await
        };
        calibrate::search(switches, &checkpoint.config, vocab, &mut evaluate).await
    }

    async fn read(
        &mut self,
        recording: &Recording,
        context: usize,
        stage: Stage,
    ) -> Result<Session> {
        let mut session = self.device.session(recording, context).await?;
        let mut upload = |weight: usize, rows: &_| session.backend().upload(weight, rows);
        self.fill(recording, stage, &mut upload).await?;
        session.backend().settle().await?;
        Ok(session)
    }

    /// Gives the recording's weights to `upload`, and tells how many bytes of the files they took.
    pub async fn fill(
        &mut self,
        recording: &Recording,
        stage: Stage,
        upload: &mut dyn FnMut(usize, &Rows) -> Result<()>,
    ) -> Result<u64> {
        let mut n_bytes = 0;
        let checkpoint = self.checkpoint;
        let mut on_progress = |progress: loader::Progress| {
            n_bytes = progress.total_bytes;
            self.tell(progress.done_bytes, n_bytes, stage)
        };
        loader::load(
            &checkpoint.sources,
            &recording.jobs,
            upload,
            &mut on_progress,
        )
        .await?;
        Ok(n_bytes)
    }

    /// Says how far it is, and hears whether to go on.
    pub fn tell(&mut self, done_bytes: u64, total_bytes: u64, stage: Stage) -> ControlFlow<()> {
        (self.on_progress)(Progress {
            done_bytes,
            total_bytes,
            stage,
        })
    }
}

/// The device that was chosen, and why.
pub struct Device {
    gpu: Option<Gpu>,
    /// For a GPU.
    pub options: GpuOptions,
    cpu: CpuOptions,
    /// Why, where the reader may have expected another.
    pub reason: Option<String>,
}

impl Device {
    /// Opens the device that the choice leads to; where that is open, the likelier one, and the GPU that is to
    /// [race](crate::race) the CPU.
    ///
    /// # Errors
    /// [`Error::NoGpu`](crate::Error::NoGpu) where the GPU was asked for and there is none.
    pub async fn choose(options: &LoadOptions) -> Result<(Self, Option<Gpu>)> {
        let cpu = Self {
            gpu: None,
            options: options.gpu,
            cpu: options.cpu.clone(),
            reason: None,
        };
        Ok(match options.backend {
            BackendChoice::Cpu => (cpu, None),
            BackendChoice::Gpu => (cpu.on_gpu(Gpu::new().await?), None),
            BackendChoice::Auto => match Gpu::new().await {
                Ok(gpu) if gpu.is_software() => (cpu, Some(gpu)),
                Ok(gpu) => (cpu.on_gpu(gpu.clone()), Some(gpu)),
                Err(error) => (cpu.because(error.to_string()), None),
            },
        })
    }

    /// The CPU, with the same options.
    pub fn on_cpu(&self) -> Self {
        Self {
            gpu: None,
            options: self.options,
            cpu: self.cpu.clone(),
            reason: None,
        }
    }

    /// This GPU, with the same options.
    pub fn on_gpu(&self, gpu: Gpu) -> Self {
        Self {
            gpu: Some(gpu),
            ..self.on_cpu()
        }
    }

    /// The same, for this reason.
    pub fn because(self, reason: String) -> Self {
        Self {
            reason: Some(reason),
            ..self
        }
    }

    /// A session over a backend for what was recorded. The weights' bytes are yet to come. Threads that have no memory for
    /// their part are left out.
    ///
    /// # Errors
    /// As [`Device::backend`].
    pub async fn session(&mut self, recording: &Recording, context: usize) -> Result<Session> {
        let program = &recording.program;
        let weights: Vec<WeightInfo> = recording.jobs.iter().map(|job| job.info.clone()).collect();
        let mut backend = self.backend(program, &weights, context, self.options).await;
        if self.gpu.is_none()
            && self.cpu.crew.is_some()
            && matches!(backend, Err(Error::OutOfMemory(_)))
        {
            self.cpu.crew = None;
            backend = self.backend(program, &weights, context, self.options).await;
        }
        Ok(Session::new(backend?, context, program.vocab()))
    }

    /// A backend for a program; `options` are for a GPU. The weights' bytes are yet to come.
    ///
    /// # Errors
    /// As [`CpuBackend::new`] and [`GpuBackend::new`].
    pub async fn backend(
        &self,
        program: &Program,
        weights: &[WeightInfo],
        context: usize,
        options: GpuOptions,
    ) -> Result<Backend> {
        Ok(match &self.gpu {
            None => Backend::Cpu(Box::new(CpuBackend::new(
                program,
                weights,
                context,
                self.cpu.clone(),
            )?)),
            Some(gpu) => Backend::Gpu(Box::new(
                GpuBackend::new(gpu, program, weights, context, options).await?,
            )),
        })
    }

    /// The same, without other threads: those serve the model that is loaded, and no second backend beside it.
    pub fn alone(&self) -> Self {
        Self {
            gpu: self.gpu.clone(),
            options: self.options,
            cpu: CpuOptions {
                crew: None,
                ..self.cpu.clone()
            },
            reason: None,
        }
    }

    /// Threads of the CPU backend.
    pub fn threads(&self) -> usize {
        self.cpu.crew.as_ref().map_or(1, Crew::n_members)
    }

    /// Gives the GPU's memory back at once. Nothing may run there any more.
    pub fn close(self) {
        if let Some(gpu) = self.gpu {
            gpu.close();
        }
    }

    /// The GPU, where that is what was chosen.
    pub fn gpu(&self) -> Option<&Gpu> {
        self.gpu.as_ref()
    }

    /// For the status line: `WebGPU · <adapter>` or `CPU`.
    pub fn describe(&self) -> String {
        match &self.gpu {
            Some(gpu) => gpu.describe(),
            None => {
                let mut what = platform::CPU.to_owned();
                if let Some(crew) = &self.cpu.crew {
                    what += &format!(" · {} threads", crew.n_members());
                }
                what
            }
        }
    }
}
