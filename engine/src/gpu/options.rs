//! What a caller may choose, and what the device suggests.

use super::device::Gpu;
use super::plan::Target;

/// How to compile a program. `None` leaves the choice to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuOptions {
    /// Fuse neighbouring ops; without, every op is a dispatch of its own.
    pub fuse: bool,
    /// Invocations that share a weight row in decode; a power of two up to 128.
    pub lanes: Option<u32>,
    /// Tokens per prefill call.
    pub chunk: Option<usize>,
    /// Whether matrices multiply many tokens through tiles in workgroup memory.
    pub tiles: Option<bool>,
    /// Whether keys and values are kept as f16, where nothing but attention by dot products reads them.
    pub halves: Option<bool>,
    /// Whether reductions use subgroups; never where the device has none.
    pub subgroups: bool,
    /// Steps of decoding per submit, at most [`MOST_STEPS`](super::MOST_STEPS); otherwise as many as take a few
    /// milliseconds.
    pub steps: Option<usize>,
    /// Split weights that are larger, though the device could bind them.
    pub max_binding_bytes: Option<u64>,
}

impl Default for GpuOptions {
    fn default() -> Self {
        Self {
            fuse: true,
            lanes: None,
            chunk: None,
            tiles: None,
            halves: None,
            subgroups: true,
            steps: None,
            max_binding_bytes: None,
        }
    }
}

/// What the device suggests, where `options` leave it open. Barriers are slow on software adapters, so a
/// row there is one invocation's; a chunk is short, so that a prompt can be stopped; and to widen halves takes
/// SwiftShader longer than to read floats.
pub(super) fn target(gpu: &Gpu, options: GpuOptions) -> Target {
    let (lanes, chunk) = if gpu.is_software() {
        (1, 32)
    } else {
        (32, 128)
    };
    let halves = !gpu.is_software() || gpu.is_llvmpipe();
    let limit = gpu.max_binding_bytes();
    Target {
        lanes: options.lanes.unwrap_or(lanes),
        subgroup: gpu.subgroup().filter(|_| options.subgroups),
        max_binding_bytes: options.max_binding_bytes.unwrap_or(limit).min(limit),
        chunk: options.chunk.unwrap_or(chunk),
        tiles: options.tiles.unwrap_or(!gpu.is_llvmpipe()),
        halves: options.halves.unwrap_or(halves),
        fuse: options.fuse,
    }
}
