//! Every kernel that the engine can build is validated by naga with its constants; no GPU is needed.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::mixture::SMALL;
use common::{Model, SMOLLM2, TINY, cases};
use engine::formats::Format;
use engine::gpu::call::Call;
use engine::gpu::plan::{Plan, Target};
use engine::gpu::shaders::{FILES, source};
use engine::gpu::stream;
use naga::valid::{Capabilities, ValidationFlags, Validator};

const TARGET: Target = Target {
    lanes: 1,
    subgroup: None,
    max_binding_bytes: 128 << 20,
    chunk: 24,
    tiles: false,
    halves: true,
    fuse: true,
};

fn targets() -> Vec<Target> {
    vec![
        TARGET,
        Target {
            lanes: 32,
            tiles: true,
            halves: false,
            fuse: false,
            ..TARGET
        },
        Target {
            lanes: 32,
            subgroup: Some(8),
            chunk: 128,
            tiles: true,
            ..TARGET
        },
        Target {
            lanes: 16,
            subgroup: Some(32),
            max_binding_bytes: 1024,
            halves: false,
            ..TARGET
        },
    ]
}

fn calls(model: &Model, target: Target) -> Vec<Call> {
    let plan = Plan::new(&model.program, &model.infos, 300, target);
    [plan.decode, plan.prefill]
        .into_iter()
        .flat_map(|p| p.body.into_iter().chain(p.head))
        .collect()
}

/// Every call for every case and some models, by the kernel's key.
fn all_calls() -> BTreeMap<String, Call> {
    let mut models: Vec<Model> = cases::all().into_iter().map(|case| case.model).collect();
    for format in Format::ALL {
        models.push(
            common::Llama {
                format,
                head_format: format,
                ..TINY
            }
            .build(),
        );
    }
    models.push(SMALL.build());
    for router_format in [Format::F32, Format::Bf16] {
        models.push(
            common::mixture::Mixture {
                router_format,
                n_experts: 9,
                last_gain: false,
                ..SMALL
            }
            .build(),
        );
    }
    models.push(
        common::mixture::Mixture {
            n_experts: 33,
            ..SMALL
        }
        .build(),
    );
    models.push(
        common::Llama {
            vocab: 131,
            layers: 1,
            head_format: Format::F16,
            ..SMOLLM2
        }
        .build(),
    );
    let each = |model: &Model| {
        targets()
            .into_iter()
            .flat_map(|t| calls(model, t))
            .collect::<Vec<_>>()
    };
    models
        .iter()
        .flat_map(each)
        .chain([stream::call(1 << 20)])
        .map(|call| (call.kernel.key(), call))
        .collect()
}

#[test]
fn every_kernel_validates_with_its_constants() {
    let mut modules = BTreeMap::new();
    for (key, call) in all_calls() {
        let text = source(&call.kernel.files);
        let (module, info) = modules.entry(call.kernel.files.clone()).or_insert_with(|| {
            let module = naga::front::wgsl::parse_str(&text)
                .unwrap_or_else(|e| panic!("{key}\n{}", e.emit_to_string(&text)));
            let info = validator()
                .validate(&module)
                .unwrap_or_else(|e| panic!("{key}\n{}", e.emit_to_string(&text)));
            (module, info)
        });
        let used = module
            .global_variables
            .iter()
            .filter(|(handle, _)| !info.get_entry_point(0)[*handle].is_empty())
            .filter_map(|(_, global)| global.binding.map(|binding| binding.binding));
        for index in used {
            let is_bound = index == 0 || call.bindings.iter().any(|b| b.index == index);
            assert!(is_bound, "{key}: nothing is bound at {index}");
        }
        let constants = call
            .kernel
            .constants
            .iter()
            .map(|(name, value)| (name.to_string(), *value))
            .collect();
        let entry = Some((naga::ShaderStage::Compute, "main"));
        let (sized, _) =
            naga::back::pipeline_constants::process_overrides(module, info, entry, &constants)
                .unwrap_or_else(|e| panic!("{key}\n{e}"));
        let bytes = workgroup_bytes(&sized);
        let limit = wgpu::Limits::default().max_compute_workgroup_storage_size;
        assert!(bytes <= limit, "{key}: {bytes} bytes of workgroup memory");
        let known: BTreeSet<&str> = module
            .overrides
            .iter()
            .filter_map(|(_, o)| o.name.as_deref())
            .collect();
        for (name, _) in &call.kernel.constants {
            assert!(
                known.contains(name),
                "{key}: browsers refuse the unknown constant {name}"
            );
        }
    }
}

/// As WebGPU counts them: each variable from a multiple of 16 on.
fn workgroup_bytes(module: &naga::Module) -> u32 {
    let variables = module.global_variables.iter();
    let shared = variables.filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup);
    let bytes = |v: &naga::GlobalVariable| module.types[v.ty].inner.size(module.to_ctx());
    shared.map(|(_, v)| bytes(v).next_multiple_of(16)).sum()
}

fn validator() -> Validator {
    // What `unpack2x16float` asks for; every WebGPU device has it.
    let capabilities = Capabilities::SUBGROUP | Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    validator
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all());
    validator
}

#[test]
fn every_file_is_listed_and_used() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shaders");
    let mut on_disk = BTreeSet::new();
    let mut folders = vec![std::path::PathBuf::from(folder)];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().with_extension("");
                on_disk.insert(name.to_str().unwrap().replace('\\', "/"));
            }
        }
    }
    let listed: BTreeSet<String> = FILES.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(
        on_disk, listed,
        "shaders/ and FILES in engine/src/gpu/shaders.rs"
    );
    let used: BTreeSet<String> = all_calls()
        .values()
        .flat_map(|call| call.kernel.files.iter().map(|name| name.to_string()))
        .collect();
    assert_eq!(
        used, listed,
        "a file that no kernel uses, or no case covers"
    );
}

#[test]
fn kernels_stay_within_the_default_limits() {
    let limits = wgpu::Limits::default();
    for (key, call) in all_calls() {
        let n = call.bindings.len() as u32;
        assert!(
            n <= limits.max_storage_buffers_per_shader_stage,
            "{key}: {n} storage buffers"
        );
        let of = |name| {
            call.kernel
                .constants
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| *v as u32)
        };
        assert!(
            of("WG").unwrap_or(256) <= limits.max_compute_invocations_per_workgroup,
            "{key}"
        );
        let grid = call.grid(128);
        assert!(
            grid.iter()
                .all(|&n| n <= limits.max_compute_workgroups_per_dimension),
            "{key} {grid:?}"
        );
        // No buffer is both read and written: WebGPU refuses such a dispatch.
        for write in call.bindings.iter().filter(|b| b.writes) {
            let same = call.bindings.iter().filter(|b| b.buf == write.buf).count();
            assert_eq!(same, 1, "{key}: {:?} is bound twice", write.buf);
        }
    }
}

#[test]
fn large_grids_fold() {
    let models = common::Llama {
        layers: 1,
        ..SMOLLM2
    }
    .build();
    let call = Call {
        groups: 200_000,
        ..calls(&models, TARGET).remove(0)
    };
    let [x, y, z] = call.grid(1);
    assert!(x <= 65_535 && y <= 65_535 && z == 1);
    assert!(x * y >= 200_000);
}

/// Queries, keys and values; attention; its output; gate and up; down. Norms begin and end in these.
#[test]
fn five_dispatches_per_layer() {
    let llama = |layers| common::Llama { layers, ..TINY }.build();
    let mixture = |layers| common::mixture::Mixture { layers, ..SMALL }.build();
    for layers in 1..4 {
        // And the embedding, the head and the draw.
        assert_eq!(calls_of_decode(&llama(layers), TARGET), 5 * layers + 3);
        assert_eq!(calls_of_decode(&mixture(layers), TARGET), 5 * layers + 3);
    }
    let plain = Target {
        fuse: false,
        ..TARGET
    };
    // Decode has no need of `Last`; the draw, begun and ended, is no op.
    let model = llama(2);
    let n_ops = model.program.ops.len();
    assert_eq!(calls_of_decode(&model, plain), n_ops - 1 + 2);
}

fn calls_of_decode(model: &Model, target: Target) -> usize {
    let plan = Plan::new(&model.program, &model.infos, 64, target);
    plan.decode.body.len() + plan.decode.head.len()
}

/// Sizes and offsets of the structs that Rust and WGSL share.
#[test]
fn shared_structs_agree() {
    let text = source(&["step", "logit", "select", "sample"]);
    let module = naga::front::wgsl::parse_str(&text).unwrap();
    let members = |name: &str| {
        let (_, ty) = module
            .types
            .iter()
            .find(|(_, t)| t.name.as_deref() == Some(name))
            .unwrap();
        let naga::TypeInner::Struct { members, span } = &ty.inner else {
            panic!("{name} is no struct")
        };
        let offsets = members
            .iter()
            .map(|m| (m.name.clone().unwrap(), m.offset as usize));
        (offsets.collect::<Vec<_>>(), *span as usize)
    };
    use engine::{op::Step, sampler::Sampling};
    use std::mem::offset_of;
    let named = |list: &[(&str, usize)]| {
        list.iter()
            .map(|(n, o)| (n.to_string(), *o))
            .collect::<Vec<_>>()
    };
    let step = named(&[("pos", offset_of!(Step, pos)), ("n", offset_of!(Step, n))]);
    assert_eq!(members("Step"), (step, size_of::<Step>()));
    let sampling = named(&[
        ("temperature", offset_of!(Sampling, temperature)),
        ("top_k", offset_of!(Sampling, top_k)),
        ("top_p", offset_of!(Sampling, top_p)),
        ("min_p", offset_of!(Sampling, min_p)),
        (
            "repetition_penalty",
            offset_of!(Sampling, repetition_penalty),
        ),
        ("seed", offset_of!(Sampling, seed)),
    ]);
    assert_eq!(members("Sampling"), (sampling, size_of::<Sampling>()));
}
