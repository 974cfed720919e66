//! Several threads that multiply together: every thread keeps some rows of every large matrix and multiplies those.
//!
//! They share no memory but a [`Desk`]: `x` goes in, each one's part of `y` comes out. So nothing here is unsafe, and
//! in a browser a thread may be a worker with a WebAssembly memory of its own. Rows do not depend on one another:
//! the results are the same to the last bit for any number of threads.

mod desk;
mod member;

pub use desk::Desk;
pub use member::serve;

use super::{
    Arithmetic, CHUNK, Packed,
    linear::{Job, Products},
    out_of_memory,
};
use crate::{
    Result,
    formats::{Format, Rows, WeightInfo},
    program::Program,
};
use member::Task;
use std::{ops::Range, sync::Arc};

/// Neighbouring rows that one thread keeps: any longer range of rows is then spread over all of them.
const BLOCK: usize = 16;

/// Which rows are whose: blocks in turn.
#[derive(Debug, Clone, Copy)]
struct Share {
    member: usize,
    n_members: usize,
}

impl Share {
    /// How many of the first `row` rows are this member's: the place of its first row from there on.
    fn before(self, row: usize) -> usize {
        let round = BLOCK * self.n_members;
        let in_round = (row % round).saturating_sub(self.member * BLOCK);
        row / round * BLOCK + in_round.min(BLOCK)
    }

    /// The places of this member's rows among these.
    fn of(self, rows: Range<usize>) -> Range<usize> {
        self.before(rows.start)..self.before(rows.end)
    }

    /// Runs of this member's rows among these: where each begins, and its length.
    fn runs(self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let first = rows.start / BLOCK;
        let blocks = (first..rows.end.div_ceil(BLOCK))
            .filter(move |block| block % self.n_members == self.member);
        blocks
            .map(move |block| (block * BLOCK).max(rows.start)..((block + 1) * BLOCK).min(rows.end))
    }

    /// What this member has made of some places of a job, `[places, its rows]`, to these places of `y`.
    fn put(self, mut part: &[f32], job: &Job<'_>, places: Range<usize>, y: &mut [f32]) {
        for (_, to) in &job.places[places] {
            for run in self.runs(job.rows.clone()) {
                let (here, rest) = part.split_at(run.len());
                y[to + run.start - job.rows.start..][..run.len()].copy_from_slice(here);
                part = rest;
            }
        }
    }
}

/// Threads that stand ready at a desk, beside the one that has it. They serve one backend at a time; clones are the
/// same crew, and it leaves with the last of them.
#[derive(Debug, Clone)]
pub struct Crew {
    at: Arc<Place>,
}

#[derive(Debug)]
struct Place {
    desk: Desk,
    n_members: usize,
}

impl Crew {
    /// One of `n_members`, all but one of which [`serve`] at this desk.
    pub fn at(desk: Desk, n_members: usize) -> Self {
        let at = Arc::new(Place { desk, n_members });
        Self { at }
    }

    /// How many there are, with the one that has the work.
    pub fn n_members(&self) -> usize {
        self.at.n_members
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.desk.begin(Task::Leave as u32);
    }
}

/// The thread that has products made, and its crew.
#[derive(Debug)]
pub struct Team {
    crew: Crew,
    /// What one member has made, `[n_places, rows]` of each job with its own rows.
    part: Vec<f32>,
    places: Vec<(usize, usize)>,
    words: Vec<u32>,
}

/// A matrix of which this thread has rows, maybe all.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'w> {
    /// Index of the weight.
    pub id: usize,
    /// The rows that are here.
    pub w: &'w Packed,
    /// How many there are in all.
    pub rows: usize,
}

impl Matrix<'_> {
    /// Whether other threads have some.
    pub fn is_shared(self) -> bool {
        self.w.rows < self.rows
    }
}

impl Team {
    /// Has the crew forget what it knows, and make room for its rows of these weights: of those that are to be shared.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory)
    pub fn new(
        crew: Crew,
        arithmetic: Arithmetic,
        weights: &[WeightInfo],
        is_shared: &[bool],
    ) -> Result<Self> {
        let team = Self {
            crew,
            part: Vec::new(),
            places: Vec::new(),
            words: Vec::new(),
        };
        team.run(Task::Clear, &[member::arithmetic_code(arithmetic)]);
        for (info, is_shared) in weights.iter().zip(is_shared) {
            let rows = if *is_shared { info.rows } else { 0 };
            let format = member::format_code(info.format);
            if team.run(Task::Room, &[format, rows, info.cols]) > 0 {
                let missing = (info.format.bytes(rows, info.cols), "a thread's weights");
                return Err(out_of_memory(missing.0, missing.1));
            }
        }
        Ok(team)
    }

    fn n_members(&self) -> usize {
        self.crew.at.n_members
    }

    fn desk(&self) -> &Desk {
        &self.crew.at.desk
    }

    fn share(&self, member: usize) -> Share {
        Share {
            member,
            n_members: self.n_members(),
        }
    }

    /// How many rows of all the first member keeps.
    pub fn own(&self, rows: usize) -> usize {
        self.share(0).before(rows)
    }

    /// Brings each row of a weight of `cols` to its member, but to the first one, whose rows are returned.
    pub fn upload(&mut self, id: usize, format: Format, cols: usize, rows: &Rows) -> Rows {
        let (q, s) = (format.row_quants_bytes(cols), format.row_scales_bytes(cols));
        let part = |member: usize| {
            let share = self.share(member);
            let all = rows.row0..rows.row0 + rows.n_rows;
            let mut part = Rows {
                row0: share.before(all.start),
                n_rows: share.of(all.clone()).len(),
                quants: Vec::new(),
                scales: Vec::new(),
            };
            for run in share.runs(all) {
                let from = run.start - rows.row0;
                let (quants, scales) = (&rows.quants[from * q..], &rows.scales[from * s..]);
                part.quants.extend_from_slice(&quants[..run.len() * q]);
                part.scales.extend_from_slice(&scales[..run.len() * s]);
            }
            part
        };
        let at_once = 4 * desk::X.len() / (q + s + 1);
        for member in 1..self.n_members() {
            let part = part(member);
            for first in (0..part.n_rows).step_by(at_once) {
                let n_rows = at_once.min(part.n_rows - first);
                let mut bytes = part.quants[first * q..][..n_rows * q].to_vec();
                bytes.extend_from_slice(&part.scales[first * s..][..n_rows * s]);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                self.desk().write_bytes(desk::X, &bytes);
                self.run(Task::Upload, &[id, member, part.row0 + first, n_rows]);
            }
        }
        part(0)
    }

    /// Those of the jobs whose weights are shared, in as few meetings as the desk has room for.
    pub fn multiply(
        &mut self,
        products: &mut Products,
        x: &[f32],
        jobs: &[Job<'_>],
        ys: &mut [Vec<f32>],
    ) {
        const ROOM: (usize, usize) = (desk::JOBS.end - desk::JOBS.start, 0);
        let numbers = desk::part_len(self.n_members());
        let (mut words, mut taken) = ROOM;
        let (mut meeting, mut is_new) = (Vec::new(), true);
        for job in jobs.iter().filter(|job| job.w.is_shared()) {
            let longest = (0..self.n_members()).map(|m| self.share(m).of(job.rows.clone()).len());
            let rows = longest.max().unwrap_or(0).max(1);
            let mut first = 0;
            while first < job.places.len() {
                let room = words
                    .saturating_sub(member::HEAD)
                    .min((numbers - taken) / rows);
                let places = first..job.places.len().min(first + room);
                if places.is_empty() {
                    self.meet(products, (x, is_new), &meeting, ys);
                    (words, taken) = ROOM;
                    is_new = false;
                    meeting.clear();
                    continue;
                }
                first = places.end;
                words -= member::HEAD + places.len();
                taken += rows * places.len();
                meeting.push((job, places));
            }
        }
        if !meeting.is_empty() {
            self.meet(products, (x, is_new), &meeting, ys);
        }
    }

    /// Some places of some jobs: `x` is laid on the desk where it is new, everybody multiplies.
    fn meet(
        &mut self,
        products: &mut Products,
        (x, is_new): (&[f32], bool),
        jobs: &[(&Job<'_>, Range<usize>)],
        ys: &mut [Vec<f32>],
    ) {
        assert!(!jobs.is_empty(), "no place has room on the desk");
        let n_members = self.n_members();
        self.words.clear();
        for (job, places) in jobs {
            member::announce(job, places.clone(), &mut self.words);
        }
        let words = bytemuck::cast_slice(&self.words);
        self.desk().write_bytes(desk::JOBS, words);
        if is_new {
            self.desk().write(desk::X, x);
        }
        let n_numbers = if is_new { x.len() } else { 0 };
        self.desk().set_arguments(&[self.words.len(), n_numbers]);
        self.desk().begin(Task::Multiply as u32);
        // The first member's own rows, while the others are at theirs.
        let share = self.share(0);
        for (job, places) in jobs {
            let own = share.of(job.rows.clone());
            self.places.clear();
            for (i, (from, _)) in job.places[places.clone()].iter().enumerate() {
                self.places.push((*from, i * own.len()));
            }
            self.part.resize(places.len() * own.len(), 0.0);
            products.multiply(job.w.w, own, x, &self.places, &mut self.part);
            share.put(&self.part, job, places.clone(), &mut ys[job.y]);
        }
        self.desk().finish(n_members as u32 - 1);
        for member in 1..n_members {
            let share = self.share(member);
            let len = |(job, places): &(&Job<'_>, Range<usize>)| {
                share.of(job.rows.clone()).len() * places.len()
            };
            self.part.resize(jobs.iter().map(len).sum(), 0.0);
            let area = desk::of_member(member, n_members);
            self.crew.at.desk.read(area, &mut self.part);
            let mut rest = &self.part[..];
            for meeting in jobs {
                let (job, places) = meeting;
                let (here, others) = rest.split_at(len(meeting));
                share.put(here, job, places.clone(), &mut ys[job.y]);
                rest = others;
            }
        }
    }

    /// One row as floats, `y[cols]`.
    pub fn row(&mut self, shared: Matrix<'_>, row: usize, y: &mut [f32]) {
        let owner = row / BLOCK % self.n_members();
        let place = self.share(owner).before(row);
        if owner == 0 {
            shared.w.format.unpack(shared.w.row(place), y);
            return;
        }
        self.run(Task::Row, &[shared.id, owner, place]);
        self.desk().read(desk::X, y);
    }

    /// Has something done; says how many could not.
    fn run(&self, task: Task, arguments: &[usize]) -> u32 {
        self.desk().set_arguments(arguments);
        self.desk().begin(task as u32);
        self.desk().finish(self.n_members() as u32 - 1)
    }
}

impl Drop for Team {
    /// The weights go; the crew stays for the next model.
    fn drop(&mut self) {
        self.run(Task::Clear, &[0]);
    }
}

/// Which weights are worth sharing among so many threads: large ones that nothing but products and the embedding
/// reads.
pub fn shared(program: &Program, weights: &[WeightInfo], crew: &Crew) -> Vec<bool> {
    let n_members = crew.at.n_members;
    let is_large = |info: &WeightInfo| {
        info.rows >= 2 * BLOCK * n_members
            && CHUNK * info.cols <= desk::X.len()
            && info.rows.div_ceil(n_members) + BLOCK <= desk::part_len(n_members)
    };
    let mut is_shared: Vec<bool> = weights.iter().map(is_large).collect();
    for op in &program.ops {
        // All but the matrices.
        for weight in op.weights().1 {
            is_shared[weight.id] = false;
        }
    }
    is_shared
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row is somebody's, and lies where the rows before it leave off.
    #[test]
    fn rows_are_shared_out_whole() {
        for n_members in 1..5 {
            for rows in [0..0, 0..1, 5..40, 16..17, 30..300, 47..113] {
                let mut seen = vec![0; rows.len()];
                for member in 0..n_members {
                    let share = Share { member, n_members };
                    let mut place = share.of(rows.clone()).start;
                    for run in share.runs(rows.clone()) {
                        assert_eq!(share.before(run.start), place);
                        place += run.len();
                        run.for_each(|row| seen[row - rows.start] += 1);
                    }
                    assert_eq!(place, share.of(rows.clone()).end);
                }
                assert!(seen.iter().all(|n| *n == 1), "{n_members} {rows:?}");
            }
        }
    }
}
