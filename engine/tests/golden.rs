//! Logits and texts against references that share no code with the engine (tools/golden.py).

#[path = "common/models.rs"]
mod models;

use engine::{
    Arithmetic, BackendChoice, CpuOptions, LoadOptions, gpu::GpuOptions, sampler::Sampling,
};
use models::{Sequence, load_files, sequences, sources, tiny_checkpoints};

/// The references' logits on tiny random checkpoints: every position, both backends, all arithmetics. Whole numbers,
/// and keys and values of 16 bits, hold a tenth of the precision of floats on a GPU; the largest error of all is for the
/// reference.
#[test]
fn tiny_checkpoints_give_the_logits_of_transformers() {
    checkpoints_give_the_recorded_logits(&tiny_checkpoints());
}

/// The model that comes with the page, after ten prompts: what train/ made gives what it gave there.
#[test]
fn the_bundled_model_gives_its_trainers_logits() {
    checkpoints_give_the_recorded_logits(&["thimble".to_owned()]);
}

fn checkpoints_give_the_recorded_logits(stems: &[String]) {
    for stem in stems {
        for (what, options, bound) in [
            (
                "floats on the CPU",
                on_cpu(Arithmetic::Floats),
                Bound::MaxRelative(1e-4),
            ),
            (
                "whole numbers on the CPU",
                on_cpu(Arithmetic::Integers),
                Bound::Nmse(1e-5),
            ),
            ("floats on the GPU", on_gpu(false), Bound::Nmse(1e-6)),
            ("halves on the GPU", on_gpu(true), Bound::Nmse(1e-5)),
        ] {
            let mut engine = load_files(sources(stem), &options);
            let vocab = engine.session().vocab();
            let backend = engine.session().backend();
            for Sequence { ids, logits } in sequences(stem) {
                let first = ids.len() - logits.len() / vocab;
                backend.begin(&Sampling::greedy(), &vec![0; vocab.div_ceil(32)]);
                for (pos, id) in ids.iter().enumerate() {
                    backend.prefill(pos, &[*id], true).unwrap();
                    let got = pollster::block_on(backend.logits()).unwrap();
                    backend.discard();
                    let Some(recorded) = pos.checked_sub(first) else {
                        continue;
                    };
                    bound.check(
                        &got,
                        &logits[recorded * vocab..][..vocab],
                        &format!("{stem}, {what}, position {pos}"),
                    );
                }
                // The same, all at once: the last position's logits.
                for (i, chunk) in ids.chunks(backend.chunk()).enumerate() {
                    backend.prefill(i * backend.chunk(), chunk, true).unwrap();
                }
                let got = pollster::block_on(backend.logits()).unwrap();
                backend.discard();
                bound.check(
                    &got,
                    &logits[logits.len() - vocab..],
                    &format!("{stem}, {what}, prefill"),
                );
            }
        }
    }
}

fn on_cpu(arithmetic: Arithmetic) -> LoadOptions {
    LoadOptions {
        backend: BackendChoice::Cpu,
        cpu: CpuOptions {
            arithmetic,
            ..CpuOptions::default()
        },
        ..LoadOptions::default()
    }
}

fn on_gpu(halves: bool) -> LoadOptions {
    LoadOptions {
        backend: BackendChoice::Gpu,
        gpu: GpuOptions {
            halves: Some(halves),
            ..GpuOptions::default()
        },
        ..LoadOptions::default()
    }
}

#[derive(Clone, Copy)]
enum Bound {
    /// Largest difference over the largest logit.
    MaxRelative(f32),
    /// Mean squared error over the mean square.
    Nmse(f64),
}

impl Bound {
    fn check(self, got: &[f32], want: &[f32], what: &str) {
        assert_eq!(got.len(), want.len(), "{what}");
        match self {
            Bound::MaxRelative(bound) => {
                let scale = want.iter().fold(0f32, |m, w| m.max(w.abs()));
                let error = got
                    .iter()
                    .zip(want)
                    .fold(0f32, |m, (g, w)| m.max((g - w).abs()))
                    / scale;
                assert!(error <= bound, "{what}: relative error {error:e}");
            }
            Bound::Nmse(bound) => {
                let square = |x: f32| f64::from(x) * f64::from(x);
                let error: f64 = got.iter().zip(want).map(|(g, w)| square(g - w)).sum();
                let norm: f64 = want.iter().map(|w| square(*w)).sum();
                assert!(error <= bound * norm, "{what}: NMSE {:e}", error / norm);
            }
        }
    }
}
