//! From an opened checkpoint to a backend that holds its weights.

use crate::{
    Result,
    backend::Backend,
    calibrate::{self, Found},
    checkpoint::{Checkpoint, Recording},
    cpu::{CpuBackend, CpuOptions},
    engine::BackendChoice,
    formats::WeightInfo,
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
    /// Which try it is at finding out how the files are to be read; none once that is known.
    pub reading: Option<usize>,
}

/// Everything that loading needs.
pub(crate) struct Loader<'a> {
    pub checkpoint: &'a Checkpoint,
    pub device: Device,
    pub gpu: GpuOptions,
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

    /// A backend with the recording's weights in place.
    pub async fn load(&mut self, recording: &Recording, context: usize) -> Result<Backend> {
        self.read(recording, context, None).await
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
            let backend = self.read(&recording, tokens.len(), Some(reading)).await?;
            let mut session = Session::new(backend, tokens.len(), vocab);
            calibrate::judge(&mut session, tokens).await
        };
        calibrate::search(switches, &checkpoint.config, vocab, &mut evaluate).await
    }

    async fn read(
        &mut self,
        recording: &Recording,
        context: usize,
        reading: Option<usize>,
    ) -> Result<Backend> {
        let Recording { program, jobs } = recording;
        let weights: Vec<WeightInfo> = jobs.iter().map(|job| job.info.clone()).collect();
        let device = &self.device;
        let mut backend = device.backend(program, &weights, context, self.gpu).await?;
        let mut upload = |weight: usize, rows: &_| backend.upload(weight, rows);
        let mut on_progress = |progress: loader::Progress| {
            (self.on_progress)(Progress {
                done_bytes: progress.done_bytes,
                total_bytes: progress.total_bytes,
                reading,
            })
        };
        let sources = &self.checkpoint.sources;
        loader::load(sources, jobs, &mut upload, &mut on_progress).await?;
        backend.settle().await?;
        Ok(backend)
    }
}

/// The device that was chosen, and why.
pub struct Device {
    gpu: Option<Gpu>,
    cpu: CpuOptions,
    /// Why, where the reader may have expected another.
    pub reason: Option<String>,
}

impl Device {
    /// Opens the device that the choice leads to.
    ///
    /// # Errors
    /// [`Error::NoGpu`](crate::Error::NoGpu) where the GPU was asked for and there is none.
    pub async fn choose(choice: BackendChoice, cpu: CpuOptions) -> Result<Self> {
        let (gpu, reason) = match choice {
            BackendChoice::Cpu => (None, None),
            BackendChoice::Gpu => (Some(Gpu::new().await?), None),
            BackendChoice::Auto => match Gpu::new().await {
                Ok(gpu) if gpu.is_software() => {
                    let what = gpu.describe();
                    let reason = format!("{what} is software and slower than the CPU backend");
                    (None, Some(reason))
                }
                Ok(gpu) => (Some(gpu), None),
                Err(error) => (None, Some(error.to_string())),
            },
        };
        Ok(Self { gpu, cpu, reason })
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
            cpu: CpuOptions {
                crew: None,
                ..self.cpu.clone()
            },
            reason: None,
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
