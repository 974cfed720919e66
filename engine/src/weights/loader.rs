//! Carries out the load jobs: reads each tensor piece by piece, packs it, hands it on.

use super::{Job, pack, source::Source};
use crate::{Error, Result, formats::Rows, platform};
use std::ops::ControlFlow;

/// Bytes read at once: large enough that a read's cost vanishes, small beside any heap.
const PIECE_BYTES: usize = 4 << 20;

/// How far loading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read and packed.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// Brings every job's weight in, in the order of the file. `upload` takes a weight's id and some of its
/// rows; an even number of them, except at the weight's end.
///
/// # Errors
/// What the sources or `upload` fail with; [`Error::Stopped`] when `on_progress` breaks.
pub async fn load(
    sources: &[Source],
    jobs: &[Job],
    upload: &mut dyn FnMut(usize, &Rows) -> Result<()>,
    on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<()> {
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|&id| (jobs[id].tensor.file, jobs[id].tensor.range.start));
    let total_bytes = jobs
        .iter()
        .map(|job| job.tensor.range.end - job.tensor.range.start)
        .sum();
    let mut done_bytes = 0;
    for id in order {
        let Job {
            tensor,
            dtype,
            info,
        } = &jobs[id];
        let row_bytes = (tensor.range.end - tensor.range.start) as usize / info.rows;
        let piece_rows = (PIECE_BYTES / row_bytes.max(1)).max(1).next_multiple_of(2);
        for row0 in (0..info.rows).step_by(piece_rows) {
            let n_rows = piece_rows.min(info.rows - row0);
            let start = tensor.range.start + (row0 * row_bytes) as u64;
            let stored = sources[tensor.file]
                .read(start..start + (n_rows * row_bytes) as u64)
                .await?;
            upload(id, &pack::pack(*dtype, stored, row0, n_rows, info.cols))?;
            done_bytes += (n_rows * row_bytes) as u64;
            if on_progress(Progress {
                done_bytes,
                total_bytes,
            })
            .is_break()
            {
                return Err(Error::Stopped);
            }
            platform::yield_now().await;
        }
    }
    Ok(())
}
