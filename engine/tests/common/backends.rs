//! A program on both backends.

use super::{Model, uploads};
use engine::cpu::{Arithmetic, CpuBackend, CpuOptions};
use engine::gpu::{Gpu, GpuBackend, GpuOptions};
use pollster::block_on;

pub const CONTEXT: usize = 320;

pub fn gpu() -> Gpu {
    let gpu = block_on(Gpu::new()).unwrap_or_else(|e| {
        panic!("{e}\nThese tests need an adapter: install mesa-vulkan-drivers")
    });
    eprintln!("{}", gpu.describe());
    gpu
}

/// A row to an invocation; many invocations to a row, with and without subgroups.
pub fn reductions() -> [GpuOptions; 3] {
    let plain = GpuOptions {
        fuse: false,
        chunk: Some(24),
        tiles: Some(false),
        lanes: Some(1),
        halves: Some(false),
        ..Default::default()
    };
    let lanes = GpuOptions {
        lanes: Some(32),
        ..plain
    };
    [
        plain,
        lanes,
        GpuOptions {
            subgroups: false,
            ..lanes
        },
    ]
}

/// Tiles in workgroup memory, where many tokens are multiplied.
pub fn tiles() -> GpuOptions {
    GpuOptions {
        tiles: Some(true),
        chunk: Some(70),
        ..reductions()[1]
    }
}

pub fn on_gpu(gpu: &Gpu, model: &Model, options: GpuOptions) -> GpuBackend {
    on_gpu_with(gpu, model, options, CONTEXT)
}

pub fn on_gpu_with(gpu: &Gpu, model: &Model, options: GpuOptions, context: usize) -> GpuBackend {
    let mut backend = block_on(GpuBackend::new(
        gpu,
        &model.program,
        &model.infos,
        context,
        options,
    ))
    .unwrap();
    for (id, rows) in model.data.iter().enumerate() {
        for rows in uploads(rows) {
            backend.upload(id, &rows).unwrap();
        }
    }
    backend
}

pub fn on_cpu(model: &Model) -> CpuBackend {
    on_cpu_with(model, CONTEXT)
}

pub fn on_cpu_with(model: &Model, context: usize) -> CpuBackend {
    let floats = CpuOptions {
        arithmetic: Arithmetic::Floats,
        crew: None,
    };
    let mut backend = CpuBackend::new(&model.program, &model.infos, context, floats).unwrap();
    for (id, rows) in model.data.iter().enumerate() {
        backend.upload(id, rows);
    }
    backend
}

/// `Σ (a - b)² / Σ b²`.
pub fn nmse(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |x: f64| x * x;
    let error: f64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| square(f64::from(*a) - f64::from(*b)))
        .sum();
    let power: f64 = b.iter().map(|b| square(f64::from(*b))).sum();
    error / power.max(1e-30)
}
