//! Carries out the load jobs: reads each part piece by piece, packs it, hands it on.

use super::{Job, Part, Stored, pack, source::Source};
use crate::{
    Error, Result,
    formats::{Format, Rows},
    platform,
};
use std::ops::{ControlFlow, Range};

/// Bytes read at once: large enough that a read's cost vanishes, small beside any heap.
const PIECE_BYTES: usize = 4 << 20;
/// Bytes read at once where less is asked for: a browser takes about a millisecond for a read, however short.
const WINDOW_BYTES: u64 = 1 << 20;

/// How far loading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read and packed.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// Brings every job's weight in, in the order of the files. `upload` takes a weight's id and some of its
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
    let total_bytes = jobs
        .iter()
        .flat_map(|job| &job.parts)
        .map(Part::n_bytes)
        .sum();
    let mut done_bytes = 0;
    let mut windows = Windows::default();
    for (id, row0, part) in in_file_order(jobs) {
        let (format, cols) = (jobs[id].info.format, jobs[id].info.cols);
        for rows in pieces(part) {
            let (n_rows, n_reads) = (rows.len(), windows.n_reads);
            let packed = read(sources, &mut windows, part, rows.clone(), cols, format).await?;
            upload(
                id,
                &Rows {
                    row0: row0 + rows.start,
                    ..packed
                },
            )?;
            done_bytes += part.n_bytes() * n_rows as u64 / part.rows as u64;
            if windows.n_reads == n_reads {
                continue;
            }
            let progress = Progress {
                done_bytes,
                total_bytes,
            };
            if on_progress(progress).is_break() {
                return Err(Error::Stopped);
            }
            platform::yield_now().await;
        }
    }
    let whole = Progress {
        done_bytes: total_bytes,
        total_bytes,
    };
    match on_progress(whole) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Stopped),
    }
}

/// Stretches of the files that are here, the one read last at the end: parts lie side by side, and their scales beside
/// them or somewhere else.
#[derive(Default)]
struct Windows {
    /// `(file, its first byte, bytes)`
    present: Vec<(usize, u64, Vec<u8>)>,
    /// Reads so far.
    n_reads: usize,
}

impl Windows {
    /// The bytes of a range, with more than that read ahead where it is short.
    async fn read(
        &mut self,
        sources: &[Source],
        file: usize,
        range: Range<u64>,
    ) -> Result<Vec<u8>> {
        let n_bytes = range.end.saturating_sub(range.start);
        let held = self.present.iter().position(|(of, start, bytes)| {
            *of == file && *start <= range.start && range.end <= start + bytes.len() as u64
        });
        if let (Some(at), true) = (held, n_bytes > 0) {
            let (_, start, bytes) = &self.present[at];
            let cut = bytes[(range.start - start) as usize..][..n_bytes as usize].to_vec();
            self.present[at..].rotate_left(1);
            return Ok(cut);
        }
        self.n_reads += 1;
        let source = &sources[file];
        let ahead = source.len().min(range.start.saturating_add(WINDOW_BYTES));
        if n_bytes == 0 || range.end >= ahead {
            return source.read(range).await;
        }
        let bytes = source.read(range.start..ahead).await?;
        let cut = bytes[..n_bytes as usize].to_vec();
        if self.present.len() == 2 {
            self.present.remove(0);
        }
        self.present.push((file, range.start, bytes));
        Ok(cut)
    }
}

/// `(weight, its first row, part)`
fn in_file_order(jobs: &[Job]) -> Vec<(usize, usize, &Part)> {
    let mut order = Vec::new();
    for (id, job) in jobs.iter().enumerate() {
        let mut row0 = 0;
        for part in &job.parts {
            order.push((id, row0, part));
            row0 += part.rows;
        }
    }
    order.sort_by_key(|(_, _, part)| (part.file, part.range.start));
    order
}

/// Runs of rows that are read at once. A transpose needs its whole matrix for any row of it; the largest
/// in a published file has 5 MB.
fn pieces(part: &Part) -> Vec<Range<usize>> {
    let row_bytes = (part.range.end - part.range.start) as usize / part.rows;
    let n_rows = match part.stored {
        Stored::Columns(_) => part.rows,
        _ => (PIECE_BYTES / row_bytes.max(1)).max(1).next_multiple_of(2),
    };
    (0..part.rows)
        .step_by(n_rows)
        .map(|row| row..part.rows.min(row + n_rows))
        .collect()
}

/// Some rows of a part, packed; counted from the part's first.
async fn read(
    sources: &[Source],
    windows: &mut Windows,
    part: &Part,
    rows: Range<usize>,
    cols: usize,
    format: Format,
) -> Result<Rows> {
    let slice = |all: &Range<u64>| {
        let row_bytes = (all.end - all.start) / part.rows as u64;
        all.start + rows.start as u64 * row_bytes..all.start + rows.end as u64 * row_bytes
    };
    let mut read = async |range| windows.read(sources, part.file, slice(range)).await;
    let stored = read(&part.range).await?;
    let (quants, scales) = match &part.stored {
        Stored::Rows(dtype) => pack::floats_or_blocks(*dtype, stored, format, cols),
        Stored::Columns(dtype) => {
            let rows_first = pack::transpose(*dtype, &stored, rows.len(), cols);
            pack::floats_or_blocks(*dtype, rows_first, format, cols)
        }
        Stored::Scaled { scales, codes } => {
            let scales = read(scales).await?;
            (pack::codes(*codes, stored), scales)
        }
        Stored::Planes { scales, .. } => (stored, read(scales).await?),
    };
    let n_rows = rows.len();
    assert_eq!(
        (quants.len(), scales.len()),
        (
            n_rows * format.row_quants_bytes(cols),
            n_rows * format.row_scales_bytes(cols)
        ),
        "planes of {n_rows} rows of {cols} as {format:?}"
    );
    Ok(Rows {
        row0: rows.start,
        n_rows,
        quants,
        scales,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(n_bytes: u64) -> Source {
        let bytes: Vec<u8> = (0..n_bytes).map(|i| (i * 7 / 3) as u8).collect();
        Source::memory("m", bytes)
    }

    /// Reads all of `ranges`, which must give what the files hold; the number of reads that it takes.
    fn n_reads(sources: &[Source], ranges: impl Iterator<Item = (usize, Range<u64>)>) -> usize {
        let mut windows = Windows::default();
        for (file, range) in ranges {
            let read = windows.read(sources, file, range.clone());
            let held = sources[file].read(range.clone());
            let (read, held) = pollster::block_on(async { (read.await, held.await) });
            assert!(read == held, "{range:?} of file {file}");
        }
        windows.n_reads
    }

    #[test]
    fn what_lies_side_by_side_is_read_at_once() {
        let sources = [file(3 * WINDOW_BYTES + 1000)];
        let n_parts = sources[0].len() / 1000;
        let parts = (0..n_parts).map(|i| (0, i * 1000..(i + 1) * 1000));
        assert_eq!(n_reads(&sources, parts), 4);
    }

    #[test]
    fn scales_may_lie_elsewhere() {
        let sources = [file(2 * WINDOW_BYTES), file(WINDOW_BYTES / 8)];
        let parts =
            (0..1000).flat_map(|i| [(0, i * 1000..(i + 1) * 1000), (1, i * 100..(i + 1) * 100)]);
        assert_eq!(n_reads(&sources, parts), 2);
    }

    #[test]
    fn what_is_long_or_does_not_exist_is_asked_for_as_it_is() {
        let sources = [file(4 * WINDOW_BYTES)];
        let (end, half) = (sources[0].len(), WINDOW_BYTES / 2);
        let long = [0..WINDOW_BYTES, WINDOW_BYTES..3 * WINDOW_BYTES, half..end];
        assert_eq!(
            n_reads(&sources, long.map(|range| (0, range)).into_iter()),
            3
        );
        let wrong = [
            end - 1..end + 1,
            end + 5..end + 6,
            8..8,
            u64::MAX - 1..u64::MAX,
        ];
        n_reads(&sources, wrong.map(|range| (0, range)).into_iter());
    }
}
