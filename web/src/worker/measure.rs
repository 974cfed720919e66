//! How fast the model is.

use super::{Worker, flow, generate::failure, send};
use crate::protocol::{Event, JobId, Report, Table};
use engine::bench::{self, Options, Progress};

impl Worker {
    /// Measures the model that is loaded, and says so as it goes.
    pub async fn measure(&self, id: JobId) {
        let Some(mut engine) = self.take_engine(id) else {
            return;
        };
        let mut told = None;
        let mut on_progress = |Progress { step, done, total }: Progress<'_>| {
            if told != Some(done) {
                told = Some(done);
                send(&Event::Measuring {
                    id,
                    step: step.to_owned(),
                    done: done as u32,
                    total: total as u32,
                });
            }
            flow(!self.is_stopped(id))
        };
        let measured = engine.measure(&Options::default(), &mut on_progress).await;
        let event = match measured {
            Ok(found) => Event::Measured {
                id,
                report: report(&found),
            },
            Err(engine::Error::Stopped) => Event::Stopped { id },
            Err(e) => failure(id, &e),
        };
        self.put_back(engine, &event);
        send(&event);
    }
}

fn report(found: &bench::Report) -> Report {
    let table = |table: bench::Table| Table {
        columns: table.columns,
        rows: table.rows,
    };
    Report {
        tables: found.tables().into_iter().map(table).collect(),
        left_out: found.left_out.clone(),
        text: found.to_string(),
        json: serde_json::to_string(found).expect("figures are plain data"),
    }
}
