//! A plan made real: buffers, pipelines, bind groups, and the lists that each step replays.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::rc::Rc;

use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindGroupLayout, BindGroupLayoutDescriptor,
    BindGroupLayoutEntry, BindingResource, BindingType, Buffer, BufferBinding, BufferBindingType,
    BufferUsages, CommandEncoder, ComputePassDescriptor, ComputePipeline,
    ComputePipelineDescriptor, PipelineCompilationOptions, PipelineLayoutDescriptor, ShaderModule,
    ShaderModuleDescriptor, ShaderSource, ShaderStages,
};

use super::call::{Call, Kernel};
use super::device::Gpu;
use super::draw::blocks_bytes;
use super::pace::MOST_STEPS;
use super::plan::{Buf, Plan};
use super::shaders;
use crate::Result;
use crate::op::Step;
use crate::sampler::Sampling;

/// One prebuilt dispatch.
#[derive(Debug)]
pub(super) struct Dispatch {
    pipeline: Rc<ComputePipeline>,
    bind_group: BindGroup,
    call: Call,
}

/// The dispatches of a phase.
#[derive(Debug)]
pub(super) struct Phase {
    pub body: Vec<Dispatch>,
    pub head: Vec<Dispatch>,
}

/// Every phase.
#[derive(Debug)]
pub(super) struct Schedule {
    pub decode: Phase,
    pub prefill: Phase,
}

impl Schedule {
    /// Compiles every kernel of the plan and binds its buffers.
    pub fn new(gpu: &Gpu, plan: &Plan, buffers: &HashMap<Buf, Buffer>) -> Self {
        let mut compiler = Compiler::new(gpu, buffers);
        let mut phase = |phase: &super::plan::Phase| Phase {
            body: phase
                .body
                .iter()
                .map(|call| compiler.dispatch(call))
                .collect(),
            head: phase
                .head
                .iter()
                .map(|call| compiler.dispatch(call))
                .collect(),
        };
        Self {
            decode: phase(&plan.decode),
            prefill: phase(&plan.prefill),
        }
    }
}

/// Bytes from one `Step` to the next: what WebGPU's default limits let a uniform's offset be a multiple of.
pub(super) const STEP_STRIDE: usize = 256;

/// Encodes lists of dispatches into one pass, for each of `n_steps` steps of `n` tokens.
pub(super) fn encode(encoder: &mut CommandEncoder, lists: &[&[Dispatch]], n: u32, n_steps: usize) {
    let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor::default());
    let mut current: Option<&Rc<ComputePipeline>> = None;
    let all = |at| lists.iter().copied().flatten().map(move |d| (at, d));
    for (at, dispatch) in (0..n_steps).flat_map(all) {
        if !current.is_some_and(|pipeline| Rc::ptr_eq(pipeline, &dispatch.pipeline)) {
            pass.set_pipeline(&dispatch.pipeline);
            current = Some(&dispatch.pipeline);
        }
        let [x, y, z] = dispatch.call.grid(n);
        pass.set_bind_group(0, &dispatch.bind_group, &[(at * STEP_STRIDE) as u32]);
        pass.dispatch_workgroups(x, y, z);
    }
}

struct Compiler<'a> {
    gpu: &'a Gpu,
    buffers: &'a HashMap<Buf, Buffer>,
    /// By file list.
    modules: HashMap<Vec<&'static str>, ShaderModule>,
    /// By (binding, writes).
    layouts: HashMap<Vec<(u32, bool)>, BindGroupLayout>,
    /// By [`Kernel::key`].
    pipelines: HashMap<String, Rc<ComputePipeline>>,
}

/// A call that belongs to no plan.
pub(super) fn dispatch(gpu: &Gpu, call: &Call, buffers: &HashMap<Buf, Buffer>) -> Dispatch {
    Compiler::new(gpu, buffers).dispatch(call)
}

impl<'a> Compiler<'a> {
    fn new(gpu: &'a Gpu, buffers: &'a HashMap<Buf, Buffer>) -> Self {
        Self {
            gpu,
            buffers,
            modules: HashMap::new(),
            layouts: HashMap::new(),
            pipelines: HashMap::new(),
        }
    }

    fn dispatch(&mut self, call: &Call) -> Dispatch {
        let layout = self.layout(call);
        let pipeline = match self.pipelines.get(&call.kernel.key()) {
            Some(pipeline) => pipeline.clone(),
            None => self.compile(&call.kernel, &layout),
        };
        let mut entries = vec![BindGroupEntry {
            binding: 0,
            resource: BindingResource::Buffer(BufferBinding {
                buffer: &self.buffers[&Buf::Step],
                offset: 0,
                size: NonZeroU64::new(size_of::<Step>() as u64),
            }),
        }];
        entries.extend(call.bindings.iter().map(|binding| BindGroupEntry {
            binding: binding.index,
            resource: self.buffers[&binding.buf].as_entire_binding(),
        }));
        let bind_group = self.gpu.device.create_bind_group(&BindGroupDescriptor {
            label: None,
            layout: &layout,
            entries: &entries,
        });
        Dispatch {
            pipeline,
            bind_group,
            call: call.clone(),
        }
    }

    fn compile(&mut self, kernel: &Kernel, layout: &BindGroupLayout) -> Rc<ComputePipeline> {
        let device = &self.gpu.device;
        let name = kernel.files.join("+");
        let module = self.modules.entry(kernel.files.clone()).or_insert_with(|| {
            device.create_shader_module(ShaderModuleDescriptor {
                label: Some(&name),
                source: ShaderSource::Wgsl(shaders::source(&kernel.files).into()),
            })
        });
        let layout = device.create_pipeline_layout(&PipelineLayoutDescriptor {
            label: Some(&name),
            bind_group_layouts: &[Some(layout)],
            immediate_size: 0,
        });
        let pipeline = Rc::new(device.create_compute_pipeline(&ComputePipelineDescriptor {
            label: Some(&name),
            layout: Some(&layout),
            module,
            entry_point: Some("main"),
            compilation_options: PipelineCompilationOptions {
                constants: &kernel.constants,
                // No kernel reads workgroup memory that it did not write.
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        }));
        self.pipelines.insert(kernel.key(), pipeline.clone());
        pipeline
    }

    fn layout(&mut self, call: &Call) -> BindGroupLayout {
        let key = call.bindings.iter().map(|b| (b.index, b.writes)).collect();
        let entry = |binding, ty: BufferBindingType| BindGroupLayoutEntry {
            binding,
            visibility: ShaderStages::COMPUTE,
            ty: BindingType::Buffer {
                ty,
                has_dynamic_offset: ty == BufferBindingType::Uniform,
                min_binding_size: None,
            },
            count: None,
        };
        let make = || {
            let mut entries = vec![entry(0, BufferBindingType::Uniform)];
            entries.extend(call.bindings.iter().map(|b| {
                entry(
                    b.index,
                    BufferBindingType::Storage {
                        read_only: !b.writes,
                    },
                )
            }));
            self.gpu
                .device
                .create_bind_group_layout(&BindGroupLayoutDescriptor {
                    label: None,
                    entries: &entries,
                })
        };
        self.layouts.entry(key).or_insert_with(make).clone()
    }
}

/// Allocates every buffer of the plan and fills the rotation tables.
pub(super) fn allocate(gpu: &Gpu, plan: &Plan, cols: &[usize]) -> Result<HashMap<Buf, Buffer>> {
    let storage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
    let mut buffers = HashMap::new();
    let mut add = |buf: Buf, what: &str, bytes: u64| -> Result<()> {
        let usage = match buf {
            Buf::Step => BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            _ => storage,
        };
        buffers.insert(buf, gpu.buffer(what, bytes, usage)?);
        Ok(())
    };
    let words = |n: usize| n as u64 * 4;
    let vocab = plan.logits.width;
    add(Buf::Step, "the steps", (MOST_STEPS * STEP_STRIDE) as u64)?;
    add(Buf::Tokens, "token ids", words(plan.chunk + MOST_STEPS))?;
    add(
        Buf::Sampling,
        "sampling settings",
        size_of::<Sampling>() as u64,
    )?;
    add(Buf::Seen, "the tokens seen", words(vocab.div_ceil(32)))?;
    add(Buf::Blocks, "the best logits", blocks_bytes(vocab))?;
    add(Buf::Keys, "the sampler's keys", words(vocab))?;
    add(Buf::Masses, "the sampler's masses", words(vocab))?;
    // New buffers are 0, and so are shared sums between dispatches.
    add(Buf::SharedSums, "attention's sums", plan.shared_bytes)?;
    for (i, bytes) in plan.slot_bytes.iter().enumerate() {
        add(Buf::Slot(i), "activations", *bytes)?;
    }
    for (slot, bytes) in &plan.group_bytes {
        add(Buf::Groups(*slot), "tokens grouped by expert", *bytes)?;
    }
    for (i, bytes) in plan.cache_bytes.iter().enumerate() {
        add(Buf::Cache(i), "the context's key/value cache", *bytes)?;
    }
    for (i, part) in plan.parts.iter().enumerate() {
        let (quants, scales) = (part.quants_at(part.rows), part.scales_at(part.rows));
        add(Buf::Quants(i), &part.label, quants as u64)?;
        if scales > 0 {
            add(Buf::Scales(i), &part.label, scales as u64)?;
        }
    }
    for (id, _) in plan.is_vector.iter().enumerate().filter(|(_, is)| **is) {
        add(Buf::Vector(id), "a norm weight or bias", words(cols[id]))?;
    }
    for (i, frequencies) in plan.frequencies.iter().enumerate() {
        let table = turns(frequencies, plan.context);
        add(Buf::Turns(i), "the rotation table", words(table.len()))?;
    }
    for (i, frequencies) in plan.frequencies.iter().enumerate() {
        let table = turns(frequencies, plan.context);
        gpu.queue
            .write_buffer(&buffers[&Buf::Turns(i)], 0, bytemuck::cast_slice(&table));
    }
    Ok(buffers)
}

/// `[context, frequencies, 2]`: cosine and sine of `pos · frequency`.
fn turns(frequencies: &[f32], context: usize) -> Vec<f32> {
    let angle = |pos: usize, frequency: &f32| pos as f32 * frequency;
    (0..context)
        .flat_map(|pos| frequencies.iter().map(move |f| angle(pos, f)))
        .flat_map(|angle| [angle.cos(), angle.sin()])
        .collect()
}
