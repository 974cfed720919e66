use super::*;
use crate::{
    LoadOptions, Precision, Source, backend::Backend, checkpoint::Checkpoint, load::Progress,
    session::End,
};
use pollster::block_on;
use serde_json::Map;
use std::cell::Cell;

fn terms(adapter: &str, weight_bytes: u64) -> Terms {
    Terms {
        adapter: adapter.into(),
        threads: 2,
        weight_bytes,
    }
}

fn race(cpu: f64, gpu: f64) -> Race {
    let terms = terms("WebGPU · Chip", 1000);
    Race { terms, cpu, gpu }
}

#[test]
fn the_sentence_says_who_won_and_by_how_much() {
    assert_eq!(
        race(45.2, 7.06).reason(),
        "the CPU is 6.4x as fast here as WebGPU · Chip: 45 against 7.1 tokens per second"
    );
    assert_eq!(
        race(45.2, 904.0).reason(),
        "WebGPU · Chip is 20x as fast here as the CPU: 904 against 45 tokens per second"
    );
    assert!(race(45.0, 45.0).gpu_won(), "and the CPU is free meanwhile");
}

#[test]
fn a_race_is_run_where_its_outcome_is_not_known() {
    let here = terms("WebGPU · Chip", 1000);
    assert_eq!(start(&here, false, 2048, None), Start::Race);
    assert_eq!(start(&here, true, 2048, None), Start::Race);
    for known in [race(9.0, 3.0), race(3.0, 9.0)] {
        let reason = known.reason();
        let expected = match known.gpu_won() {
            true => Start::Gpu(Some(reason)),
            false => Start::Cpu(reason),
        };
        assert_eq!(start(&here, false, 2048, Some(&known)), expected);
        // Of another GPU, another number of threads, or weights packed in another way.
        let more_threads = Terms {
            threads: 3,
            ..here.clone()
        };
        for other in [
            terms("WebGPU", 1000),
            terms("WebGPU · Chip", 999),
            more_threads,
        ] {
            assert_eq!(start(&other, false, 2048, Some(&known)), Start::Race);
        }
        // A GPU that is faster than two threads is faster than one.
        let one_thread = Terms {
            threads: 1,
            ..here.clone()
        };
        let is_raced = start(&one_thread, false, 2048, Some(&known)) == Start::Race;
        assert_eq!(is_raced, !known.gpu_won());
    }
}

#[test]
fn what_cannot_be_raced_goes_by_a_rule() {
    let large = terms("Vulkan · Chip", MAX_BYTES + 1);
    let small = terms("Vulkan · Chip", MAX_BYTES);
    for (terms, context) in [(&large, 2048), (&small, MIN_CONTEXT - 1)] {
        assert_eq!(start(terms, false, context, None), Start::Gpu(None));
        let reason = "Vulkan · Chip is a program on the CPU".to_string();
        assert_eq!(start(terms, true, context, None), Start::Cpu(reason));
    }
    assert_eq!(start(&small, false, MIN_CONTEXT, None), Start::Race);
}

#[test]
fn a_race_survives_storing() {
    let json = serde_json::to_string(&race(45.25, 0.1)).unwrap();
    assert_eq!(
        serde_json::from_str::<Race>(&json).unwrap(),
        race(45.25, 0.1)
    );
}

fn checkpoint() -> Checkpoint {
    let bytes = include_bytes!("../../../models/tiny-llama-gguf/tiny-q4_0.gguf");
    let source = Source::memory("tiny-q4_0.gguf", &bytes[..]);
    block_on(Checkpoint::open(vec![source])).unwrap()
}

/// A loader for an automatic choice, and the GPU that it may take.
fn loader<'a>(
    checkpoint: &'a Checkpoint,
    on_progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> (Loader<'a>, Gpu) {
    let options = LoadOptions::default();
    let choice = Device::choose(&options);
    let (device, gpu) = block_on(choice).unwrap();
    let loader = Loader {
        checkpoint,
        device,
        precision: Precision::Auto,
        on_progress,
    };
    (loader, gpu.expect("a GPU, if only a program"))
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Loads with a race that ends as `rate` says, if it is run; gives the loader's device too.
fn load(
    known: Option<&Race>,
    mut rate: impl FnMut(&Backend) -> Result<f64>,
) -> Result<(Session, Option<Race>, Device)> {
    let checkpoint = checkpoint();
    let mut on_progress = go_on;
    let (mut loader, gpu) = loader(&checkpoint, &mut on_progress);
    let recording = loader.record(&Map::new())?;
    let mut pace = async |session: &mut Session, _: &mut dyn FnMut() -> _| rate(session.backend());
    let loaded = loader.load_faster(&recording, 64, gpu, known, &mut pace);
    let (session, race) = block_on(loaded)?;
    Ok((session, race, loader.device))
}

fn greedy(session: &mut Session) -> Vec<u32> {
    let mut tokens = Vec::new();
    let mut on_tick = |tick| {
        if let Tick::Token(token) = tick {
            tokens.push(token);
        }
        ControlFlow::Continue(())
    };
    let sampling = Sampling::greedy();
    let run = session.run(&[3, 1, 4, 1, 5], &sampling, 20, &mut on_tick);
    assert_eq!(block_on(run).unwrap().end, End::Length);
    tokens
}

/// `(cpu, gpu)` in tokens per second.
fn rates(cpu: f64, gpu: f64) -> impl FnMut(&Backend) -> Result<f64> {
    move |backend| {
        Ok(match backend {
            Backend::Cpu(_) => cpu,
            Backend::Gpu(_) => gpu,
        })
    }
}

#[test]
fn whoever_wins_runs_the_model_and_says_why() {
    let mut texts = Vec::new();
    for (cpu, gpu) in [(8.0, 2.0), (2.0, 8.0)] {
        let (mut session, race, device) = load(None, rates(cpu, gpu)).unwrap();
        let race = race.expect("it was run");
        assert_eq!((race.cpu, race.gpu), (cpu, gpu));
        assert_eq!(device.gpu().is_some(), gpu > cpu);
        assert_eq!(device.reason, Some(race.reason()));
        let on_gpu = session.backend().dispatches_per_token().is_some();
        assert_eq!(on_gpu, gpu > cpu);
        texts.push(greedy(&mut session));

        // The next time it is known.
        let never = |_: &Backend| panic!("it is known who wins");
        let (mut session, again, device) = load(Some(&race), never).unwrap();
        assert_eq!(device.gpu().is_some(), gpu > cpu);
        assert_eq!((again, device.reason), (None, Some(race.reason())));
        texts.push(greedy(&mut session));
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}

#[test]
fn who_fails_has_lost() {
    let failing = |gpu_fails: bool, cpu_fails: bool| {
        move |backend: &Backend| match backend {
            Backend::Gpu(_) if gpu_fails => Err(Error::DeviceLost("gone".into())),
            Backend::Cpu(_) if cpu_fails => Err(Error::BadRequest("no room".into())),
            _ => Ok(1.0),
        }
    };
    for gpu_fails in [true, false] {
        let (mut session, race, device) = load(None, failing(gpu_fails, !gpu_fails)).unwrap();
        assert_eq!((race, device.gpu().is_none()), (None, gpu_fails));
        let expected = if gpu_fails { "gone" } else { "no room" };
        assert!(device.reason.unwrap().contains(expected));
        assert_eq!(greedy(&mut session).len(), 20);
    }
    let both = load(None, failing(true, true)).err();
    assert_eq!(both.unwrap().to_string(), "no room");
}

#[test]
fn a_stop_ends_the_race() {
    let checkpoint = checkpoint();
    let mut raced = 0;
    let mut on_progress = |progress: Progress| match progress.stage {
        Stage::Race => {
            raced += 1;
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    };
    let (mut loader, gpu) = loader(&checkpoint, &mut on_progress);
    let recording = loader.record(&Map::new()).unwrap();
    let mut measured = async |session: &mut Session, go_on: &mut dyn FnMut() -> _| {
        pace(session, crate::platform::now_ms, go_on).await
    };
    let loaded = loader.load_faster(&recording, 64, gpu, None, &mut measured);
    assert!(matches!(block_on(loaded).err(), Some(Error::Stopped)));
    assert_eq!(raced, 1);
}

/// Tokens per second where the clock goes on by so many milliseconds whenever it is asked.
fn paced(ms: f64, context: usize) -> f64 {
    let checkpoint = checkpoint();
    let mut on_progress = go_on;
    let (mut loader, _) = loader(&checkpoint, &mut on_progress);
    loader.device = loader.device.on_cpu();
    let recording = loader.record(&Map::new()).unwrap();
    let mut session = block_on(loader.load(&recording, context)).unwrap();
    let now = Cell::new(0.0);
    let clock = || {
        now.set(now.get() + ms);
        now.get()
    };
    let mut go_on = || ControlFlow::Continue(());
    let found = block_on(pace(&mut session, clock, &mut go_on)).unwrap();
    assert_eq!(
        greedy(&mut session),
        greedy(&mut session),
        "it is usable afterwards"
    );
    found
}

#[test]
fn a_pace_is_tokens_over_time() {
    // Fast, with the clock's time up; with the most tokens; until the context is full; slower than the budget.
    for (ms, context) in [
        (1.0, 2048),
        (0.1, 2048),
        (1.0, MIN_CONTEXT.max(32)),
        (500.0, 2048),
    ] {
        let found = paced(ms, context);
        assert!((found * ms / 1e3 - 1.0).abs() < 1e-6, "{ms} ms: {found}");
    }
}
