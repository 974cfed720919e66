//! The adapter that was found, and what became of it.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use wgpu::{
    Adapter, AdapterInfo, Backend, Buffer, BufferDescriptor, BufferUsages, Device,
    DeviceDescriptor, DeviceType, ErrorFilter, Features, Instance, InstanceDescriptor, Limits,
    PowerPreference, Queue, RequestAdapterError, RequestAdapterOptions,
};

use crate::{Error, OutOfMemory, Result, platform};

/// What the device says about work that was given to it.
pub(super) struct Verdict(Pin<Box<dyn Future<Output = Result<()>>>>);

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verdict")
    }
}

impl IntoFuture for Verdict {
    type Output = Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<()>>>>;

    fn into_future(self) -> Self::IntoFuture {
        self.0
    }
}

/// An opened GPU. Clones are the same device.
#[derive(Debug, Clone)]
pub struct Gpu {
    pub(super) device: Device,
    pub(super) queue: Queue,
    /// Milliseconds after which a wait submits something. Firefox looks at its GPU every 100 ms unless something is
    /// submitted; to others it would only be work.
    pub(super) nudge_ms: u32,
    /// What the system says about the adapter; browsers hide most of it.
    pub info: AdapterInfo,
    failure: Arc<Mutex<Option<Error>>>,
}

impl Gpu {
    /// Opens the fastest adapter with WebGPU's default limits, raised only for the sizes of buffers.
    ///
    /// # Errors
    /// [`Error::NoGpu`] where there is no adapter, or where it refuses to open.
    pub async fn new() -> Result<Self> {
        let no_gpu = |reason: &dyn std::fmt::Display| Error::NoGpu(reason.to_string());
        let instance = Instance::new(InstanceDescriptor::new_without_display_handle());
        let options = RequestAdapterOptions {
            power_preference: PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = instance
            .request_adapter(&options)
            .await
            .map_err(|e| match e {
                // wgpu's own text lists the backends that were not compiled in.
                RequestAdapterError::NotFound { .. } => {
                    no_gpu(&"this system or browser offers none")
                }
                e => no_gpu(&e),
            })?;
        let (device, queue) = adapter
            .request_device(&wants(&adapter))
            .await
            .map_err(|e| no_gpu(&e))?;
        let gpu = Self {
            device,
            queue,
            nudge_ms: if platform::is_firefox() { 4 } else { 100 },
            info: adapter.get_info(),
            failure: Arc::default(),
        };
        gpu.listen();
        Ok(gpu)
    }

    /// Whether the "GPU" is a program on the CPU; the CPU backend is then most likely the faster choice.
    pub fn is_software(&self) -> bool {
        let name = self.info.name.to_lowercase();
        let known = ["swiftshader", "llvmpipe", "lavapipe", "basic render"];
        self.info.device_type == DeviceType::Cpu || known.iter().any(|n| name.contains(n))
    }

    /// Whether it is Mesa's software adapter. It reads at once what all invocations share, and workgroup memory word by
    /// word: there tiles cost more than they bring.
    pub(super) fn is_llvmpipe(&self) -> bool {
        self.info.name.to_lowercase().contains("llvmpipe")
    }

    /// Ends the device, and with it all its memory.
    pub fn close(self) {
        self.device.destroy();
    }

    /// One line for people, such as `WebGPU · Apple M2`.
    pub fn describe(&self) -> String {
        let api = match self.info.backend {
            Backend::BrowserWebGpu => "WebGPU",
            Backend::Vulkan => "Vulkan",
            Backend::Metal => "Metal",
            Backend::Dx12 => "Direct3D 12",
            _ => "GPU",
        };
        let software = if self.is_software() {
            " (software)"
        } else {
            ""
        };
        match self.info.name.trim() {
            "" => format!("{api}{software}"),
            name => format!("{api} · {name}{software}"),
        }
    }

    /// Smallest subgroup, where kernels can use subgroups. Browsers never say so through wgpu 30.
    pub fn subgroup(&self) -> Option<u32> {
        let size = self.info.subgroup_min_size;
        (self.device.features().contains(Features::SUBGROUP) && size >= 4).then_some(size)
    }

    /// Largest buffer that a kernel can bind, in bytes.
    pub fn max_binding_bytes(&self) -> u64 {
        let limits = self.device.limits();
        limits
            .max_storage_buffer_binding_size
            .min(limits.max_buffer_size)
    }

    /// Whether the device still works.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::OutOfMemory`], once and for all.
    pub fn check(&self) -> Result<()> {
        match &*self.failure.lock().expect("no panic under the lock") {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// The failure that the device reported, or one made of `reason`.
    pub(super) fn lost(&self, reason: impl std::fmt::Display) -> Error {
        self.check()
            .err()
            .unwrap_or_else(|| Error::DeviceLost(reason.to_string()))
    }

    /// Makes a buffer of `bytes` rounded up to a whole 16.
    pub(super) fn buffer(&self, what: &str, bytes: u64, usage: BufferUsages) -> Result<Buffer> {
        let size = bytes.next_multiple_of(16).max(16);
        let limit = self.max_binding_bytes();
        if size > limit {
            return Err(OutOfMemory {
                what: what.to_string(),
                needed_bytes: size,
                limit_bytes: limit,
            }
            .into());
        }
        Ok(self.device.create_buffer(&BufferDescriptor {
            label: Some(what),
            size,
            usage,
            mapped_at_creation: false,
        }))
    }

    /// Runs `make`, which is to allocate `needed_bytes`, and returns the error that the device reports
    /// meanwhile.
    pub(super) async fn guarded<T>(
        &self,
        what: &str,
        needed_bytes: u64,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let (made, verdict) = self.judged(what, needed_bytes, make);
        verdict.await?;
        made
    }

    /// As [`Gpu::guarded`], for those who have something else to do until the device has judged.
    pub(super) fn judged<T>(
        &self,
        what: &str,
        needed_bytes: u64,
        make: impl FnOnce() -> T,
    ) -> (T, Verdict) {
        let invalid = self.device.push_error_scope(ErrorFilter::Validation);
        let memory = self.device.push_error_scope(ErrorFilter::OutOfMemory);
        let made = make();
        let (memory, invalid) = (memory.pop(), invalid.pop());
        let (gpu, what) = (self.clone(), what.to_string());
        let verdict = async move {
            if memory.await.is_some() {
                return Err(OutOfMemory {
                    what: format!("{what} in the GPU's free memory"),
                    needed_bytes,
                    limit_bytes: gpu.device.limits().max_buffer_size,
                }
                .into());
            }
            match invalid.await {
                Some(error) => Err(Error::NoGpu(format!("its driver refused {what}: {error}"))),
                None => gpu.check(),
            }
        };
        (made, Verdict(Box::pin(verdict)))
    }

    /// From here on, what the device reports is kept for the next call instead of a panic.
    fn listen(&self) {
        let failure = self.failure.clone();
        let keep = move |error: Error| {
            failure
                .lock()
                .expect("no panic under the lock")
                .get_or_insert(error);
        };
        let lost = keep.clone();
        self.device
            .set_device_lost_callback(move |reason, message| {
                lost(Error::DeviceLost(format!("{reason:?}: {message}")));
            });
        self.device.on_uncaptured_error(Arc::new(move |error| {
            keep(match error {
                wgpu::Error::OutOfMemory { .. } => Error::DeviceLost("out of memory".to_string()),
                other => Error::DeviceLost(other.to_string()),
            });
        }));
    }
}

fn wants(adapter: &Adapter) -> DeviceDescriptor<'static> {
    let has = adapter.limits();
    DeviceDescriptor {
        label: Some("Thimble"),
        required_features: adapter.features() & Features::SUBGROUP,
        required_limits: Limits {
            max_buffer_size: has.max_buffer_size,
            max_storage_buffer_binding_size: has.max_storage_buffer_binding_size,
            ..Limits::default()
        },
        ..Default::default()
    }
}
