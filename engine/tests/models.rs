//! Laws that every model obeys on every backend, whatever its weights.

#[path = "common/models.rs"]
mod models;

use engine::{
    Arithmetic, BackendChoice, CpuOptions, Crew, Engine, Error, LoadOptions, Sampling,
    cpu::Desk,
    gpu::GpuOptions,
    session::{End, Tick},
};
use models::{load, load_files, sources, tiny_checkpoints};
use std::ops::ControlFlow;

const BACKENDS: [BackendChoice; 2] = [BackendChoice::Cpu, BackendChoice::Gpu];

/// On the CPU; on the GPU with as many steps per submit as it finds right, and with 1, 2, 3 and 4.
fn ways() -> Vec<LoadOptions> {
    let on = |backend, steps| LoadOptions {
        backend,
        gpu: GpuOptions {
            steps,
            ..GpuOptions::default()
        },
        ..LoadOptions::default()
    };
    let fixed = (1..=4).map(|n| on(BackendChoice::Gpu, Some(n)));
    BACKENDS
        .map(|backend| on(backend, None))
        .into_iter()
        .chain(fixed)
        .collect()
}

fn warm(seed: u32) -> Sampling {
    Sampling {
        temperature: 0.8,
        top_k: 40,
        top_p: 0.95,
        min_p: 0.02,
        repetition_penalty: 1.1,
        seed,
    }
}

/// A prompt of `n` tokens without pattern, below every tiny vocabulary's end.
fn prompt(n: u32) -> Vec<u32> {
    (0..n).map(|i| 3 + i * 7919 % 250).collect()
}

/// Draws up to `max` tokens; stops after `stop_after`.
fn draw(
    engine: &mut Engine,
    prompt: &[u32],
    sampling: &Sampling,
    max: usize,
    stop_after: usize,
) -> (Vec<u32>, End) {
    let mut tokens = Vec::new();
    let mut on_tick = |tick| {
        if let Tick::Token(token) = tick {
            tokens.push(token);
        }
        if tokens.len() >= stop_after {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let run =
        pollster::block_on(engine.session().run(prompt, sampling, max, &mut on_tick)).unwrap();
    assert_eq!(run.n_generated, tokens.len());
    (tokens, run.end)
}

#[test]
fn a_reused_prefix_changes_nothing() {
    // The second one's convolutions have a cache of their own.
    for stem in ["tiny-llama-gqa-tied", "tiny-moa-maha"] {
        for backend in BACKENDS {
            prefixes_are_reused(stem, backend);
        }
    }
}

fn prefixes_are_reused(stem: &str, backend: BackendChoice) {
    let mut engine = load(stem, backend);
    let (first, _) = draw(&mut engine, &prompt(50), &warm(1), 20, 99);
    // A second turn: the first prompt, its answer, and more.
    let second = [prompt(50), first, prompt(9)].concat();
    let (reused, _) = draw(&mut engine, &second, &warm(2), 20, 99);
    let mut fresh = load(stem, backend);
    assert_eq!(
        reused,
        draw(&mut fresh, &second, &warm(2), 20, 99).0,
        "{stem} {backend:?}"
    );
    // A turn that shares only a part with the cache.
    let other = [&second[..30], &prompt(40)[..]].concat();
    let mut fresh = load(stem, backend);
    let shared = draw(&mut engine, &other, &warm(3), 20, 99);
    assert_eq!(
        shared,
        draw(&mut fresh, &other, &warm(3), 20, 99),
        "{stem} {backend:?}"
    );
}

#[test]
fn stopping_anywhere_leaves_a_usable_session() {
    for way in ways() {
        let fresh = || load_files(sources("tiny-llama-gqa-tied"), &way);
        let mut engine = fresh();
        let (whole, end) = draw(&mut engine, &prompt(40), &warm(5), 24, 99);
        assert_eq!((whole.len(), end), (24, End::Length));
        for stop_after in [0, 1, 2, 5, 23] {
            let (part, end) = draw(&mut engine, &prompt(40), &warm(5), 24, stop_after);
            assert_eq!(end, End::Broken);
            assert_eq!(
                part,
                whole[..stop_after],
                "{way:?} stopped after {stop_after}"
            );
            // Going on from what was kept gives what an unbroken cache gives.
            let more = [prompt(40), part].concat();
            let (again, _) = draw(&mut engine, &more, &warm(6), 8, 99);
            assert_eq!(
                again,
                draw(&mut fresh(), &more, &warm(6), 8, 99).0,
                "{way:?} after {stop_after}"
            );
        }
    }
}

#[test]
fn the_seed_decides_and_greedy_agrees_across_backends() {
    let (mut greedy, mut drawn_by_gpu) = (Vec::new(), Vec::new());
    for way in ways() {
        let mut engine = load_files(sources("tiny-llama-rope-scaling"), &way);
        let a = draw(&mut engine, &prompt(10), &warm(7), 30, 99);
        let b = draw(&mut engine, &prompt(10), &warm(7), 30, 99);
        let c = draw(&mut engine, &prompt(10), &warm(8), 30, 99);
        assert_eq!(a, b, "{way:?}");
        assert_ne!(a, c, "{way:?}");
        greedy.push(draw(&mut engine, &prompt(10), &Sampling::greedy(), 30, 99));
        if way.backend == BackendChoice::Gpu {
            drawn_by_gpu.push((a, c));
        }
    }
    assert!(greedy.iter().all(|text| *text == greedy[0]));
    assert!(drawn_by_gpu.iter().all(|texts| *texts == drawn_by_gpu[0]));
}

#[test]
fn every_checkpoint_draws_the_same_greedily_on_both_backends() {
    for stem in tiny_checkpoints() {
        let texts = BACKENDS.map(|backend| {
            draw(
                &mut load(&stem, backend),
                &prompt(33),
                &Sampling::greedy(),
                16,
                99,
            )
        });
        assert_eq!(texts[0], texts[1], "{stem}");
    }
}

/// Bit by bit: a token at a time, and a prompt at once.
#[test]
fn any_number_of_threads_gives_the_same_logits() {
    for stem in tiny_checkpoints() {
        for arithmetic in [Arithmetic::Floats, Arithmetic::Integers] {
            let logits = |n_threads: usize| {
                let options = LoadOptions {
                    backend: BackendChoice::Cpu,
                    cpu: CpuOptions {
                        arithmetic,
                        crew: Crew::of_threads(n_threads).map(|crew| crew.meeting_for(1)),
                    },
                    ..LoadOptions::default()
                };
                let mut engine = load_files(sources(&stem), &options);
                let backend = engine.session().backend();
                let vocab = pollster::block_on(backend.logits()).unwrap().len();
                backend.begin(&warm(1), &vec![0; vocab.div_ceil(32)]);
                let tokens = prompt(20);
                let mut all = Vec::new();
                for (pos, tokens) in [(0, &tokens[..19]), (19, &tokens[19..])] {
                    backend.prefill(pos, tokens, true).unwrap();
                    backend.discard();
                    all.extend(pollster::block_on(backend.logits()).unwrap());
                }
                all.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let alone = logits(1);
            for n_threads in [2, 3] {
                assert!(
                    logits(n_threads) == alone,
                    "{stem} {n_threads} {arithmetic:?}"
                );
            }
        }
    }
}

/// A thread that can do nothing but forget and leave.
fn without_memory() -> Crew {
    const ROOM: u32 = 2;
    let desk = Desk::default();
    let theirs = desk.clone();
    std::thread::spawn(move || {
        let (mut last, mut kind) = (0, ROOM);
        while kind > 0 {
            (last, kind) = theirs.next(last);
            theirs.done(kind < ROOM);
        }
    });
    Crew::at(desk, 2)
}

#[test]
fn a_thread_without_memory_is_left_out() {
    let stem = "tiny-llama-gqa-tied";
    let with = |crew| LoadOptions {
        backend: BackendChoice::Cpu,
        cpu: CpuOptions {
            crew,
            ..CpuOptions::default()
        },
        ..LoadOptions::default()
    };
    let [two, alone] = [Crew::of_threads(2), Some(without_memory())].map(|crew| {
        let mut engine = load_files(sources(stem), &with(crew));
        let (tokens, _) = draw(&mut engine, &prompt(9), &Sampling::greedy(), 12, 99);
        (engine.info().backend.clone(), tokens)
    });
    assert!(two.0.contains("2 threads"), "{}", two.0);
    assert!(!alone.0.contains("threads"), "{}", alone.0);
    assert_eq!(two.1, alone.1);
}

#[test]
fn a_full_context_is_said_clearly() {
    for way in ways() {
        let options = LoadOptions {
            context: Some(32),
            ..way
        };
        let mut engine = load_files(sources("tiny-llama-gqa-tied"), &options);
        let (tokens, end) = draw(&mut engine, &prompt(28), &warm(1), 99, 99);
        assert_eq!((tokens.len(), end), (4, End::ContextFull), "{options:?}");
        let mut refuses = |prompt: &[u32]| {
            let mut on_tick = |_| ControlFlow::Continue(());
            pollster::block_on(engine.session().run(prompt, &warm(1), 5, &mut on_tick)).unwrap_err()
        };
        assert_eq!(
            refuses(&prompt(32)),
            Error::ContextFull {
                needed: 33,
                context: 32
            }
        );
        assert!(matches!(refuses(&[]), Error::BadRequest(_)));
        assert!(matches!(refuses(&[100_000]), Error::BadRequest(_)));
        // None of it harmed the session.
        assert_eq!(draw(&mut engine, &prompt(28), &warm(1), 99, 99).0, tokens);
    }
}
