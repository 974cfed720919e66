//! The part of the state that concerns measuring the model.

use super::{Chat, Command};
use crate::protocol::{JobId, Report, Request};

/// Measuring, as far as it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bench {
    /// The measurement that goes on.
    pub running: Option<Measuring>,
    /// What the last one found.
    pub report: Option<Report>,
}

/// A measurement that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measuring {
    /// The job.
    pub id: JobId,
    /// What is being measured.
    pub step: String,
    /// Steps that are over.
    pub done: u32,
    /// Steps in all; 0 until the worker has begun.
    pub total: u32,
    /// The visitor pressed stop.
    pub stopping: bool,
}

impl Chat {
    /// Whether the address asks for the measuring card.
    pub fn offers_bench(&self) -> bool {
        self.launch.bench
    }

    /// The measurement with this job's number, if it is the current one.
    pub(super) fn measuring(&mut self, id: JobId) -> Option<&mut Measuring> {
        self.bench.running.as_mut().filter(|m| m.id == id)
    }

    pub(super) fn measure(&mut self) -> Vec<Command> {
        if self.why_not_ask().is_some() {
            return vec![];
        }
        let id = self.next_job();
        self.banner = None;
        self.bench = Bench {
            running: Some(Measuring {
                id,
                step: String::new(),
                done: 0,
                total: 0,
                stopping: false,
            }),
            report: None,
        };
        vec![Command::Send(Request::Measure { id })]
    }

    pub(super) fn stop_measuring(&mut self) -> Vec<Command> {
        let Some(running) = &mut self.bench.running else {
            return vec![];
        };
        running.stopping = true;
        vec![Command::Send(Request::Stop { id: running.id })]
    }

    /// The model goes, and what was or is being found out about it.
    pub(super) fn abandon_bench(&mut self) -> Vec<Command> {
        let commands = self.stop_measuring();
        self.bench = Bench::default();
        commands
    }

    pub(super) fn measured(&mut self, id: JobId, report: Report) {
        if self.measuring(id).is_some() {
            self.bench = Bench {
                running: None,
                report: Some(report),
            };
        }
    }
}
