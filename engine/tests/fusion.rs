//! Whole programs, fused, against the CPU, which never fuses.

mod common;

use common::backends::{gpu, nmse, on_cpu, on_gpu, reductions, tiles};
use common::mixture::{Mixture, SMALL};
use common::{Llama, Model, Random, TINY};
use engine::formats::Format;
use engine::gpu::{Gpu, GpuBackend, GpuOptions};
use engine::op::{Heads, Pairing, Router, Score};
use pollster::block_on;

fn prompt(n: usize, vocab: usize) -> Vec<u32> {
    let mut random = Random(7);
    (0..n).map(|_| random.next() % vocab as u32).collect()
}

fn gpu_logits(backend: &mut GpuBackend, chunks: &[&[u32]]) -> Vec<f32> {
    let mut pos = 0;
    for (i, chunk) in chunks.iter().enumerate() {
        backend.prefill(pos, chunk, i + 1 == chunks.len()).unwrap();
        pos += chunk.len();
    }
    block_on(backend.drawn()).unwrap();
    block_on(backend.logits()).unwrap()
}

/// Compares the last logits of 40 tokens: fused, in chunks and, for every reduction, token by token.
fn check(gpu: &Gpu, name: &str, model: &Model, vocab: usize) {
    let [one_lane, lanes, no_subgroups] = reductions().map(|options| GpuOptions {
        fuse: true,
        ..options
    });
    let tiles = GpuOptions {
        fuse: true,
        ..tiles()
    };
    let split = |options| GpuOptions {
        max_binding_bytes: Some(32_768),
        ..options
    };
    let tokens = prompt(40, vocab);
    let mut cpu = on_cpu(model);
    for (i, chunk) in tokens.chunks(17).enumerate() {
        cpu.prefill(17 * i, chunk, true);
    }
    for (what, options, chunk) in [
        ("one lane, in chunks", one_lane, 17),
        ("one lane", one_lane, 1),
        ("lanes", lanes, 1),
        ("no subgroups", no_subgroups, 1),
        ("split weights", split(lanes), 1),
        ("split weights, in chunks", split(lanes), 17),
        ("tiles", tiles, 40),
        ("tiles, split weights", split(tiles), 40),
    ] {
        let mut backend = on_gpu(gpu, model, options);
        // What a kernel reads, it or one before it has written.
        backend.fill(f32::NAN);
        let chunks: Vec<&[u32]> = tokens.chunks(chunk).collect();
        let error = nmse(&gpu_logits(&mut backend, &chunks), cpu.logits());
        assert!(error < 1e-9, "{name}, {what}: NMSE {error:e}");
    }
}

/// Nothing fused: what the cases check op by op, once as a whole.
#[test]
fn a_plain_program_agrees() {
    let gpu = gpu();
    let model = TINY.build();
    let tokens = prompt(40, TINY.vocab);
    let mut cpu = on_cpu(&model);
    let mut backend = on_gpu(&gpu, &model, reductions()[0]);
    let chunks: Vec<&[u32]> = tokens.chunks(17).collect();
    for (i, chunk) in chunks.iter().enumerate() {
        cpu.prefill(17 * i, chunk, true);
    }
    let error = nmse(&gpu_logits(&mut backend, &chunks), cpu.logits());
    assert!(error < 1e-9, "NMSE {error:e}");
}

#[test]
fn llamas_agree() {
    let gpu = gpu();
    for format in Format::ALL {
        let model = Llama {
            format,
            head_format: format,
            ..TINY
        };
        check(&gpu, &format!("{format:?}"), &model.build(), TINY.vocab);
    }
}

/// Widths that no workgroup or unit divides, heads of which a part turns, and both pairings.
#[test]
fn odd_llamas_agree() {
    let gpu = gpu();
    for (i, format) in Format::ALL.into_iter().enumerate() {
        let is_grouped = format.row_scales_bytes(32) > 0;
        let (d, hidden, head_dim) = if is_grouped {
            (96, 160, 32)
        } else {
            (37, 53, 12)
        };
        let (pairing, pairs) = [
            (Pairing::Half, head_dim / 2),
            (Pairing::Interleaved, 3),
            (Pairing::Half, 2),
            (Pairing::Half, 3),
        ][i % 4];
        let model = Llama {
            vocab: 67,
            d,
            layers: 1,
            heads: Heads {
                n_heads: 3,
                n_kv_heads: 1,
                head_dim,
            },
            pairing,
            pairs,
            hidden,
            format,
            head_format: Format::F32,
        };
        let name = format!("{format:?}, {pairs} pairs {pairing:?}");
        check(&gpu, &name, &model.build(), 67);
    }
}

#[test]
fn mixtures_agree() {
    let gpu = gpu();
    let router = |score, top_k, renormalise| Router {
        score,
        top_k,
        renormalise,
    };
    let mixtures = [
        ("signs beside nibbles", SMALL),
        (
            "no shared expert",
            Mixture {
                shared: None,
                ..SMALL
            },
        ),
        (
            "a shared expert of another width",
            Mixture {
                shared: Some((Format::I4, 32)),
                ..SMALL
            },
        ),
        (
            "a shared expert of another format",
            Mixture {
                shared: Some((Format::Q8, 64)),
                ..SMALL
            },
        ),
        (
            "one format, biased sigmoids",
            Mixture {
                formats: [Format::Q4; 3],
                shared: Some((Format::Q4, 64)),
                n_experts: 5,
                router: router(Score::Sigmoid, 3, true),
                biased: true,
                router_format: Format::F32,
                ..SMALL
            },
        ),
        (
            "many experts, odd widths",
            Mixture {
                d: 36,
                hidden: 22,
                heads: Heads {
                    n_heads: 3,
                    n_kv_heads: 3,
                    head_dim: 12,
                },
                formats: [Format::F32; 3],
                shared: Some((Format::F32, 22)),
                n_experts: 31,
                router: router(Score::Softmax, 4, false),
                router_format: Format::Bf16,
                ..SMALL
            },
        ),
        (
            "more experts than have their logits begun",
            Mixture {
                n_experts: 33,
                last_gain: false,
                ..SMALL
            },
        ),
    ];
    for (name, mixture) in mixtures {
        check(&gpu, name, &mixture.build(), mixture.vocab);
    }
}
