//! `thimble bench`.

use std::{ops::ControlFlow, path::Path};

use engine::{
    LoadOptions,
    bench::{Options, Progress},
};

use crate::{
    talk,
    terminal::{Failure, progress, say},
};

/// Measures a model and prints what came of it.
pub async fn bench(
    model: &Path,
    load: &LoadOptions,
    options: &Options,
    json: bool,
) -> Result<(), Failure> {
    let mut engine = talk::load(model, load).await?;
    let mut shown = None;
    let mut on_progress = |Progress { step, done, total }: Progress<'_>| {
        if shown != Some(done) {
            shown = Some(done);
            progress(done, total, &format!("measured; now: {step}"));
        }
        ControlFlow::Continue(())
    };
    let report = engine.measure(options, &mut on_progress).await?;
    progress(1, 1, "");
    if json {
        let json = serde_json::to_string_pretty(&report).expect("figures are plain data");
        return say(&format!("{json}\n"));
    }
    say(&report.to_string())
}
