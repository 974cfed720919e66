//! Measuring: that everything is measured or said to be left out. Not how fast anything is.

#[path = "common/models.rs"]
mod models;

use engine::bench::{Options, Progress, Report};
use engine::cpu::{CpuOptions, Crew};
use engine::{BackendChoice, Engine, Error, Generation, LoadOptions, Prompt, Sampling};
use pollster::block_on;
use std::ops::ControlFlow;

const SHORT: Options = Options { budget_ms: 4000.0 };

fn measure(engine: &mut Engine) -> (Report, Vec<usize>) {
    let mut seen = Vec::new();
    let mut on_progress = |Progress { step, done, total }: Progress<'_>| {
        assert!(
            !step.is_empty() && done < total,
            "{step}: {done} of {total}"
        );
        seen.push(done);
        ControlFlow::Continue(())
    };
    let report = block_on(engine.measure(&SHORT, &mut on_progress)).unwrap();
    (report, seen)
}

fn answer(engine: &mut Engine) -> String {
    let generation = Generation {
        sampling: Sampling::greedy(),
        max_tokens: 8,
        stop: vec![],
    };
    let mut text = String::new();
    let mut on_event = |event| {
        if let engine::Event::Text(piece) = event {
            text += &piece;
        }
        ControlFlow::Continue(())
    };
    let prompt = Prompt::Text("The tailor".into());
    block_on(engine.generate(&prompt, &generation, &mut on_event)).unwrap();
    text
}

/// Every place of the list is measured or left out, with a reason.
fn check_places(places: [usize; 3], what: &str, report: &Report) {
    let speeds = match what {
        "prompt of" => &report.prefill,
        _ => &report.decode,
    };
    for place in places {
        let step = format!("{what} {place} tokens: ");
        let measured = speeds.iter().filter(|speed| speed.tokens == place).count();
        let left_out = report
            .left_out
            .iter()
            .filter(|l| l.starts_with(&step))
            .count();
        assert_eq!(measured + left_out, 1, "{step}{report}");
    }
    for speed in speeds {
        assert!(speed.tokens_per_second > 0.0 && speed.tokens_per_second.is_finite());
        assert!((1..=5).contains(&speed.runs));
    }
}

fn check(stem: &str, backend: BackendChoice) -> Report {
    let mut engine = models::load(stem, backend);
    let before = answer(&mut engine);
    let (report, seen) = measure(&mut engine);
    assert!(seen.is_sorted(), "{seen:?}");
    check_places([32, 256, 1024], "prompt of", &report);
    check_places([16, 512, 2000], "answer at", &report);
    assert!(report.bandwidth_gb_s.unwrap() > 0.0);
    assert_eq!(
        report.dispatches_per_token,
        engine.info().dispatches_per_token
    );
    assert!(
        report
            .ops
            .iter()
            .all(|op| op.microseconds > 0.0 && op.runs > 0)
    );
    let share = |op: &engine::bench::OpSpeed| {
        let share = op.gb_s? / report.bandwidth_gb_s? - op.share_of_bandwidth?;
        Some(share.abs() < 1e-9)
    };
    assert!(report.ops.iter().all(|op| share(op) != Some(false)));
    // What was in the cache is forgotten, and the model is as it was.
    assert_eq!(answer(&mut engine), before);
    let text = report.to_string();
    for line in [&report.model, "tokens/s", "GFLOP/s"] {
        assert!(text.contains(line), "{text}");
    }
    serde_json::to_string(&report).unwrap();
    report
}

#[test]
fn a_dense_model_on_the_cpu() {
    let report = check("tiny-llama-gqa-tied", BackendChoice::Cpu);
    assert_eq!(report.dispatches_per_token, None);
    // Tied: the head reads the whole table, the embedding a row of it.
    assert!(report.bytes_per_token > report.weight_bytes, "{report}");
}

#[test]
fn experts_on_the_cpu() {
    let report = check("tiny-mixtral-v4", BackendChoice::Cpu);
    let of_experts = |op: &engine::bench::OpSpeed| op.op.contains(" experts ");
    let left_out = report.left_out.iter().any(|line| line.contains(" ops: "));
    assert!(left_out || report.ops.iter().any(of_experts), "{report}");
    assert!(report.bytes_per_token < report.weight_bytes, "{report}");
}

#[test]
fn a_dense_model_on_the_gpu() {
    let report = check("tiny-llama-gguf-q4_0", BackendChoice::Gpu);
    assert!(report.dispatches_per_token.is_some());
}

#[test]
fn distances_on_the_cpu() {
    check("tiny-moa-l2", BackendChoice::Cpu);
}

/// Single ops have programs of their own, and the threads go on serving the model's.
#[test]
fn threads_keep_the_model() {
    let mut alone = models::load("tiny-llama-gguf-q8_0", BackendChoice::Cpu);
    let cpu = CpuOptions {
        crew: Crew::of_threads(2),
        ..CpuOptions::default()
    };
    let options = LoadOptions {
        backend: BackendChoice::Cpu,
        cpu,
        ..LoadOptions::default()
    };
    let mut shared = models::load_files(models::sources("tiny-llama-gguf-q8_0"), &options);
    let expected = answer(&mut alone);
    assert_eq!(answer(&mut shared), expected);
    assert!(!measure(&mut shared).0.ops.is_empty());
    assert_eq!(answer(&mut shared), expected);
}

/// Without time for more than the first steps, the rest is named.
#[test]
fn what_is_left_out_is_said() {
    let mut engine = models::load("tiny-llama-gguf-q4_0", BackendChoice::Cpu);
    let none = Options { budget_ms: 0.0 };
    let report = block_on(engine.measure(&none, &mut |_| ControlFlow::Continue(()))).unwrap();
    assert!(report.prefill.is_empty() && report.decode.is_empty() && report.ops.is_empty());
    assert!(
        report.left_out.iter().any(|line| line.contains(" ops: ")),
        "{report}"
    );
}

#[test]
fn measuring_can_be_stopped() {
    let mut engine = models::load("tiny-llama-gguf-q4_0", BackendChoice::Cpu);
    let before = answer(&mut engine);
    for stop_at in ["prompt of 32 tokens", "answer at 16 tokens", "linear"] {
        let mut on_progress = |progress: Progress<'_>| match progress.step.starts_with(stop_at) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let measured = block_on(engine.measure(&SHORT, &mut on_progress));
        assert!(
            matches!(measured, Err(Error::Stopped)),
            "{stop_at}: {measured:?}"
        );
        assert_eq!(answer(&mut engine), before);
    }
}
