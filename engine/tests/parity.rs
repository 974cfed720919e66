//! CPU against GPU: every op over one table of cases, draws in flight, and the sampler.
//!
//! They need an adapter; CI has a software one (Mesa's lavapipe).

mod common;

use common::backends::{CONTEXT, gpu, nmse, on_cpu_with, on_gpu, on_gpu_with, reductions, tiles};
use common::cases::Case;
use common::{Model, Random, TINY, cases, metric_cases};
use engine::gpu::stream::Stream;
use engine::gpu::{Gpu, GpuBackend, GpuOptions, MAX_IN_FLIGHT, MOST_STEPS};
use engine::op::Op;
use engine::sampler::{Sampling, sample};
use pollster::block_on;

/// An f16 number, too.
const SENTINEL: f32 = -7776.0;

/// Runs a case on both backends and compares what the op wrote, and what it should leave alone.
fn check(gpu: &Gpu, case: &Case, options: GpuOptions) {
    let Case {
        name,
        bound,
        model,
        y,
        steps,
    } = case;
    let context = steps.iter().sum::<usize>().max(CONTEXT);
    let mut cpu = on_cpu_with(model, context);
    let mut backend = on_gpu_with(gpu, model, options, context);
    backend.fill(SENTINEL);
    let (mut random, mut pos, mut most) = (Random(99), 0, 0);
    for &n in steps {
        let tokens: Vec<u32> = (0..n)
            .map(|_| random.next() % common::VOCAB as u32)
            .collect();
        let mut want = Vec::new();
        for tokens in tokens.chunks(cpu.chunk()) {
            cpu.prefill(pos + want.len() / y.width, tokens, true);
            want.extend_from_slice(cpu.read(*y, tokens.len()));
        }
        backend.prefill(pos, &tokens, true).unwrap();
        block_on(backend.drawn()).unwrap();
        most = most.max(n);
        let got = block_on(backend.activation(*y)).unwrap();
        let (got, rest) = got.split_at(most * y.width);
        let error = nmse(&got[..n * y.width], &want);
        assert!(
            error <= *bound,
            "{name}, {n} tokens at {pos}: NMSE {error:e} ({options:?})"
        );
        assert!(
            rest.iter().all(|&v| v == SENTINEL),
            "{name}, {n} tokens: wrote past its output"
        );
        let error = nmse(&block_on(backend.logits()).unwrap(), cpu.logits());
        assert!(
            error <= *bound,
            "{name}, {n} tokens at {pos}: NMSE of the last row {error:e}"
        );
        pos += n;
    }
    for op in &model.program.ops {
        if let Op::Store { cache, .. } = op {
            let rows = block_on(backend.cache(*cache)).unwrap();
            let (written, rest) = rows.split_at(pos * cache.width);
            assert!(
                written.iter().all(|&v| v.abs() <= 1.0),
                "{name}: a row was not stored"
            );
            assert!(
                rest.iter().all(|&v| v == SENTINEL),
                "{name}: stored past the last token"
            );
        }
    }
}

#[test]
fn every_op_agrees() {
    let gpu = gpu();
    for case in cases::all() {
        check(&gpu, &case, reductions()[0]);
    }
}

#[test]
fn every_reduction_agrees() {
    let gpu = gpu();
    for case in cases::linear().iter().chain(&cases::rms_norm()) {
        for options in &reductions()[1..] {
            check(&gpu, case, *options);
        }
    }
}

/// A head's keys are shared out among workgroups when a token is alone; on a software adapter, those of several heads
/// together.
#[test]
fn shared_heads_agree() {
    let gpu = gpu();
    for case in cases::attention()
        .iter()
        .chain(&metric_cases::attention())
        .chain(&cases::long_attention())
    {
        check(&gpu, case, reductions()[1]);
    }
    for case in cases::long_attention() {
        check(&gpu, &case, reductions()[0]);
    }
}

/// Keys and values of half the size, which are rounded to 11 bits.
#[test]
fn halves_agree() {
    let gpu = gpu();
    for options in reductions().into_iter().take(2).chain([tiles()]) {
        let options = GpuOptions {
            halves: Some(true),
            ..options
        };
        for mut case in cases::attention()
            .into_iter()
            .chain(cases::long_attention())
        {
            case.bound = 1e-6;
            check(&gpu, &case, options);
        }
    }
}

/// Less than a tile of tokens, one and a token, and more than two.
#[test]
fn tiles_agree() {
    let gpu = gpu();
    for mut case in cases::linear().into_iter().chain(cases::expert_linear()) {
        case.steps = vec![2, 17, 33, 70];
        check(&gpu, &case, tiles());
    }
    for mut case in cases::attention() {
        case.steps.extend([33, 70]);
        check(&gpu, &case, tiles());
    }
}

/// What is stored is what is read back, bit by bit.
#[test]
fn store_copies() {
    let gpu = gpu();
    let mut net = common::Net::new();
    let x = net.input(13);
    let cache = net.b.store(x);
    let model = net.finish_at(x);
    let mut backend = on_gpu(&gpu, &model, reductions()[0]);
    backend.fill(SENTINEL);
    backend.prefill(5, &[3, 1, 2], true).unwrap();
    let x = block_on(backend.activation(x)).unwrap();
    let rows = block_on(backend.cache(cache)).unwrap();
    assert_eq!(rows[5 * 13..8 * 13], x[..3 * 13]);
    assert!(
        rows[..5 * 13]
            .iter()
            .chain(&rows[8 * 13..])
            .all(|&v| v == SENTINEL)
    );
}

/// Every word is read, once.
#[test]
fn streams_agree() {
    let gpu = gpu();
    for n_words in [4, 1028, 16_384, 16_388, 300_000] {
        let mut random = Random(n_words as u32);
        let words: Vec<u32> = (0..n_words).map(|_| random.next()).collect();
        let stream = block_on(Stream::new(&gpu, n_words, |i| words[i])).unwrap();
        block_on(stream.read(2)).unwrap();
        let sum = block_on(stream.sum()).unwrap();
        assert_eq!(sum, engine::cpu::stream::sum(&words), "{n_words} words");
    }
}

/// Limits below a buffer's size are an error that says so, not a panic.
#[test]
fn too_much_context_is_out_of_memory() {
    let gpu = gpu();
    let model = TINY.build();
    let context = gpu.max_binding_bytes() as usize / 64;
    let made = block_on(GpuBackend::new(
        &gpu,
        &model.program,
        &model.infos,
        context,
        reductions()[0],
    ));
    let Err(engine::Error::OutOfMemory(engine::OutOfMemory { what, .. })) = made else {
        panic!("{made:?}")
    };
    assert_eq!(what, "the context's key/value cache");
}

fn greedy_text(backend: &mut GpuBackend, n: usize, in_flight: usize) -> Vec<u32> {
    backend.begin(&Sampling::greedy(), &[0; TINY.vocab.div_ceil(32)]);
    backend.prefill(0, &[5, 9, 100], true).unwrap();
    let (mut text, mut pos) = (Vec::new(), 3);
    while text.len() < n {
        while backend.in_flight() < in_flight {
            pos += backend.decode(pos, MOST_STEPS).unwrap();
        }
        text.extend(block_on(backend.drawn()).unwrap());
    }
    backend.discard();
    text.truncate(n);
    text
}

#[test]
fn draws_in_flight_change_nothing() {
    let gpu = gpu();
    let mut backend = on_gpu(&gpu, &TINY.build(), GpuOptions::default());
    let one = greedy_text(&mut backend, 24, 1);
    assert_eq!(greedy_text(&mut backend, 24, 4), one);
    assert_eq!(greedy_text(&mut backend, 24, MAX_IN_FLIGHT), one);
    // What was discarded before it was ready never comes back.
    for _ in 0..3 {
        backend.prefill(0, &[1, 2, 3], true).unwrap();
        backend.discard();
        assert_eq!(backend.in_flight(), 0);
    }
    assert_eq!(greedy_text(&mut backend, 24, 2), one);
    block_on(backend.settle()).unwrap();
    for steps in 1..=MOST_STEPS {
        let options = GpuOptions {
            steps: Some(steps),
            ..GpuOptions::default()
        };
        let mut backend = on_gpu(&gpu, &TINY.build(), options);
        for in_flight in [1, 3] {
            let text = greedy_text(&mut backend, 24, in_flight);
            assert_eq!(text, one, "{steps} steps, {in_flight} submits");
        }
    }
}

/// A program whose logits are rows of a table.
fn table(vocab: usize) -> (Model, Vec<Vec<f32>>) {
    let mut net = common::Net::new();
    let x = net.input(vocab);
    let rows: Vec<f32> = bytemuck::pod_collect_to_vec(&net.data[0].quants);
    // Random logits between -6 and 6.
    let scale = 6.0 * (vocab as f32).sqrt();
    let rows: Vec<f32> = rows.iter().map(|l| l * scale).collect();
    net.data[0].quants = bytemuck::cast_slice(&rows).to_vec();
    (
        net.finish_at(x),
        rows.chunks(vocab).map(<[f32]>::to_vec).collect(),
    )
}

fn settings() -> Vec<Sampling> {
    let greedy = Sampling::greedy();
    let warm = Sampling {
        temperature: 0.8,
        ..greedy
    };
    vec![
        greedy,
        Sampling {
            repetition_penalty: 1.5,
            ..greedy
        },
        warm,
        Sampling { top_k: 1, ..warm },
        Sampling { top_k: 40, ..warm },
        Sampling {
            top_k: 1_000_000,
            ..warm
        },
        Sampling { top_p: 0.5, ..warm },
        Sampling {
            top_p: 1e-6,
            ..warm
        },
        Sampling { min_p: 0.2, ..warm },
        Sampling {
            repetition_penalty: 1.3,
            temperature: 3.0,
            ..warm
        },
        Sampling {
            temperature: 1e-4,
            ..warm
        },
        Sampling {
            top_k: 50,
            top_p: 0.9,
            min_p: 0.05,
            repetition_penalty: 1.1,
            temperature: 1.2,
            seed: 0,
        },
    ]
}

#[test]
fn the_sampler_is_the_cpu_s() {
    let gpu = gpu();
    for vocab in [1, 7, 256, 1031, 5000] {
        let (model, rows) = table(vocab);
        let mut backend = on_gpu(&gpu, &model, reductions()[0]);
        for (sampling, seed) in settings()
            .iter()
            .flat_map(|s| (0..12).map(move |seed| (s, seed)))
        {
            let sampling = Sampling { seed, ..*sampling };
            let mut random = Random(seed + 1);
            let start: Vec<u32> = (0..vocab.div_ceil(32))
                .map(|_| random.next() & random.next())
                .collect();
            backend.begin(&sampling, &start);
            // The drawn token counts as seen from the second draw on.
            let mut seen = start;
            for pos in [seed as usize, seed as usize + 1] {
                let row = random.next() as usize % rows.len();
                backend.prefill(pos, &[row as u32], true).unwrap();
                let got = block_on(backend.drawn()).unwrap()[0];
                let want = sample(&rows[row], &mut seen, &sampling, pos as u32);
                assert_eq!(
                    got, want,
                    "vocabulary of {vocab}, row {row}, at {pos}, {sampling:?}"
                );
            }
        }
    }
}

/// Where the head begins the draw, in blocks of all sizes.
#[test]
fn a_head_begins_the_draw() {
    let gpu = gpu();
    for vocab in [3, 131, 5003] {
        let model = common::Llama {
            vocab,
            layers: 1,
            ..TINY
        }
        .build();
        for plain in reductions() {
            let options = GpuOptions {
                fuse: true,
                ..plain
            };
            let mut backend = on_gpu(&gpu, &model, options);
            for (i, sampling) in settings().iter().enumerate() {
                let mut random = Random(i as u32 + 1);
                let mut seen: Vec<u32> = (0..vocab.div_ceil(32))
                    .map(|_| random.next() & random.next())
                    .collect();
                backend.begin(sampling, &seen);
                for pos in [0, 7] {
                    // By the schedule of decode, and by that of prefill.
                    let tokens = [random.next() % vocab as u32, 1];
                    backend
                        .prefill(pos, &tokens[..1 + pos.min(1)], true)
                        .unwrap();
                    let got = block_on(backend.drawn()).unwrap()[0];
                    let logits = block_on(backend.logits()).unwrap();
                    let last = pos + pos.min(1);
                    let want = sample(&logits, &mut seen, sampling, last as u32);
                    assert_eq!(got, want, "{vocab} tokens, {sampling:?}, {options:?}");
                }
            }
        }
    }
}

#[test]
fn draws_follow_the_probabilities() {
    let gpu = gpu();
    let (model, rows) = table(6);
    let mut backend = on_gpu(&gpu, &model, reductions()[0]);
    let weights: Vec<f64> = rows[0].iter().map(|l| f64::from(*l / 4.0).exp()).collect();
    let total: f64 = weights.iter().sum();
    let (mut counts, n) = ([0; 6], 4000);
    for seed in 0..n {
        let sampling = Sampling {
            temperature: 4.0,
            seed,
            ..Sampling::greedy()
        };
        backend.begin(&sampling, &[0]);
        backend.prefill(0, &[0], true).unwrap();
        if backend.in_flight() == MAX_IN_FLIGHT || seed + 1 == n {
            while backend.in_flight() > 0 {
                counts[block_on(backend.drawn()).unwrap()[0] as usize] += 1;
            }
        }
    }
    for (count, weight) in counts.iter().zip(&weights) {
        let (got, want) = (f64::from(*count) / f64::from(n), weight / total);
        let deviation = (want * (1.0 - want) / f64::from(n)).sqrt();
        assert!(
            (got - want).abs() < 4.0 * deviation,
            "{got} instead of {want}"
        );
    }
}

/// A broken model may give logits that are no numbers; the draw still ends, within the vocabulary.
#[test]
fn logits_that_are_no_numbers_end() {
    let gpu = gpu();
    let (mut model, _) = table(300);
    let mut rows: Vec<f32> = bytemuck::pod_collect_to_vec(&model.data[0].quants);
    rows[..300].fill(f32::NAN);
    rows[300..600].fill(f32::NEG_INFINITY);
    rows[600 + 17] = f32::INFINITY;
    rows[900 + 18] = f32::NAN;
    model.data[0].quants = bytemuck::cast_slice(&rows).to_vec();
    let mut backend = on_gpu(&gpu, &model, reductions()[0]);
    for sampling in settings() {
        backend.begin(&sampling, &[0; 10]);
        for row in 0..4 {
            backend.prefill(0, &[row], true).unwrap();
            let token = block_on(backend.drawn()).unwrap()[0];
            assert!(token < 300, "{token}");
            if row == 2 && sampling.temperature < 1.0 {
                assert_eq!(token, 17, "{sampling:?}");
            }
        }
    }
}
