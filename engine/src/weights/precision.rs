//! Which packed format a weight of whole floats becomes.

use super::{Job, Stored};
use crate::{
    formats::{Format, GROUP},
    op::Op,
    program::Program,
};

/// What becomes of matrices that a file stores as whole floats. What a file stores packed stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// By the model's size: as stored up to 32 million weights, 8 bits up to 500 million, 4 above.
    #[default]
    Auto,
    /// As stored.
    Exact,
    /// Bytes with a scale for each 32 (8.5 bits per weight).
    Q8,
    /// Nibbles with a scale and a minimum for each 32 (5 bits per weight).
    Q4,
}

/// Weights above which a model is packed as Q8.
const MANY: usize = 32 << 20;
/// Weights above which it is packed as Q4.
const VERY_MANY: usize = 500 << 20;
/// Matrices of fewer rows keep their floats: routers, whose choices are not to change, cost next to nothing.
const FEW_ROWS: usize = 128;

/// Sets the format of each job.
///
/// Norm weights, biases and routers keep their floats. The embedding of a Q4 model is Q8, as in llama.cpp's
/// files: it is small beside the layers or also the head, whose errors go straight into the logits.
pub fn choose(precision: Precision, program: &Program, jobs: &mut [Job]) {
    let is_matrix = |job: &Job| {
        let floats = job.parts.iter().all(|part| match part.stored {
            Stored::Rows(dtype) | Stored::Columns(dtype) => dtype.is_float(),
            Stored::Scaled { .. } | Stored::Planes { .. } => false,
        });
        floats && job.info.rows >= FEW_ROWS && job.info.cols.is_multiple_of(GROUP)
    };
    let n_weights: usize = jobs
        .iter()
        .filter(|job| is_matrix(job))
        .map(|job| job.info.rows * job.info.cols)
        .sum();
    let format = match precision {
        Precision::Exact => return,
        Precision::Auto if n_weights <= MANY => return,
        Precision::Auto if n_weights <= VERY_MANY => Format::Q8,
        Precision::Q8 => Format::Q8,
        Precision::Auto | Precision::Q4 => Format::Q4,
    };
    for job in jobs.iter_mut().filter(|job| is_matrix(job)) {
        job.info.format = format;
    }
    let embeddings = program.ops.iter().filter_map(|op| match op {
        Op::Embed { w, .. } => Some(w.id),
        _ => None,
    });
    for id in embeddings {
        if is_matrix(&jobs[id]) {
            jobs[id].info.format = Format::Q8;
        }
    }
}
