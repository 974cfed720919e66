//! Several threads that multiply together: the first one has all weights, every other one keeps some rows of each large
//! matrix and multiplies those, where that is worth a meeting.
//!
//! They share no memory but a [`Desk`]: `x` goes in, each one's part of `y` comes out. So nothing here is unsafe, and
//! in a browser a thread may be a worker with a WebAssembly memory of its own. Rows do not depend on one another:
//! the results are the same to the last bit for any number of threads.

mod desk;
mod member;

pub use desk::Desk;
pub use member::serve;

use super::{
    Arithmetic, CHUNK,
    linear::{Job, Products},
    out_of_memory,
};
use crate::{
    Result,
    formats::{Format, Rows, WeightInfo},
    op::Op,
    program::Program,
};
use member::Task;
use std::{ops::Range, sync::Arc};

/// Neighbouring rows that one thread keeps: any longer range of rows is then spread over all of them.
const BLOCK: usize = 32;

/// Multiplications that are worth a meeting: at some ten billion a second, what two threads save of fewer is less than
/// what they wait for one another.
const WORTH: usize = 1 << 20;

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
    /// Multiplications for which they meet.
    worth: usize,
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
        Self { at, worth: WORTH }
    }

    /// Has them meet for so few multiplications, instead of for as many as are worth it.
    pub fn meeting_for(self, n_multiplications: usize) -> Self {
        Self {
            worth: n_multiplications,
            ..self
        }
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
    /// Of each weight, whether the others have rows of it.
    is_shared: Vec<bool>,
    /// What another member has made, `[n_places, rows]` of each job with its rows.
    part: Vec<f32>,
    places: Vec<(usize, usize)>,
    words: Vec<u32>,
}

/// Some places of some jobs, for which there is room on the desk.
#[derive(Default)]
struct Meeting<'j> {
    jobs: Vec<(&'j Job<'j>, Range<usize>)>,
    /// Of the description of the jobs.
    n_words: usize,
    /// That a member makes at most.
    n_numbers: usize,
}

impl<'j> Meeting<'j> {
    /// As many of a job's places from the `first` on as there is room for; says where they end.
    fn add(&mut self, job: &'j Job<'j>, first: usize, n_members: usize) -> usize {
        let share = |member| Share { member, n_members };
        let lens = (0..n_members).map(|member| share(member).of(job.rows.clone()).len());
        let rows = lens.max().unwrap_or(0).max(1);
        let words = (desk::JOBS.len() - self.n_words).saturating_sub(member::HEAD);
        let numbers = desk::part_len(n_members) - self.n_numbers;
        let places = first..job.places.len().min(first + words.min(numbers / rows));
        let end = places.end;
        if !places.is_empty() {
            self.n_words += member::HEAD + places.len();
            self.n_numbers += rows * places.len();
            self.jobs.push((job, places));
        }
        end
    }
}

impl Team {
    /// Has the crew forget what it knows, and make room for its rows of these weights: of those that are worth it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory)
    pub fn new(
        crew: Crew,
        arithmetic: Arithmetic,
        program: &Program,
        weights: &[WeightInfo],
    ) -> Result<Self> {
        let team = Self {
            is_shared: shared(program, weights, crew.n_members()),
            crew,
            part: Vec::new(),
            places: Vec::new(),
            words: Vec::new(),
        };
        team.run(Task::Clear, &[member::arithmetic_code(arithmetic)]);
        for (info, is_shared) in weights.iter().zip(&team.is_shared) {
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
        self.crew.n_members()
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

    /// Brings each of these rows of the weight `id`, of `cols`, to its member, if it is shared.
    pub fn upload(&self, id: usize, format: Format, cols: usize, rows: &Rows) {
        if !self.is_shared[id] {
            return;
        }
        let (q, s) = (format.row_quants_bytes(cols), format.row_scales_bytes(cols));
        let at_once = 4 * desk::X.len() / (q + s + 1);
        let all = rows.row0..rows.row0 + rows.n_rows;
        for member in 1..self.n_members() {
            let share = self.share(member);
            let (mut quants, mut scales) = (Vec::new(), Vec::new());
            for run in share.runs(all.clone()) {
                let from = run.start - rows.row0;
                quants.extend_from_slice(&rows.quants[from * q..][..run.len() * q]);
                scales.extend_from_slice(&rows.scales[from * s..][..run.len() * s]);
            }
            let places = share.of(all.clone());
            for first in (0..places.len()).step_by(at_once) {
                let n_rows = at_once.min(places.len() - first);
                let mut bytes = quants[first * q..][..n_rows * q].to_vec();
                bytes.extend_from_slice(&scales[first * s..][..n_rows * s]);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                self.desk().write_bytes(desk::X, &bytes);
                self.run(Task::Upload, &[id, member, places.start + first, n_rows]);
            }
        }
    }

    /// Those of the jobs whose weights are shared, in as few meetings as the desk has room for, if they are worth one;
    /// the others remain.
    pub fn multiply<'j>(
        &mut self,
        products: &mut Products,
        x: &[f32],
        jobs: &'j [Job<'j>],
        ys: &mut [Vec<f32>],
    ) -> Vec<&'j Job<'j>> {
        let (shared, mut rest): (Vec<_>, Vec<_>) =
            jobs.iter().partition(|job| self.is_shared[job.w.id]);
        let work = |job: &&Job<'_>| job.rows.len() * job.w.w.cols * job.places.len();
        if shared.iter().map(work).sum::<usize>() < self.crew.worth {
            rest.extend(shared);
            return rest;
        }
        let (mut meeting, mut is_new) = (Meeting::default(), true);
        for job in shared {
            let mut first = 0;
            while first < job.places.len() {
                let end = meeting.add(job, first, self.n_members());
                if end == first {
                    self.meet(products, (x, is_new), &meeting, ys);
                    (meeting, is_new) = (Meeting::default(), false);
                }
                first = end;
            }
        }
        self.meet(products, (x, is_new), &meeting, ys);
        rest
    }

    /// Everybody multiplies; `x` is laid on the desk where it is new.
    fn meet(
        &mut self,
        products: &mut Products,
        (x, is_new): (&[f32], bool),
        meeting: &Meeting<'_>,
        ys: &mut [Vec<f32>],
    ) {
        let jobs = &meeting.jobs;
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
        // The first member's rows, while the others are at theirs.
        for (job, places) in jobs {
            for run in self.share(0).runs(job.rows.clone()) {
                let at = run.start - job.rows.start;
                let places = job.places[places.clone()].iter();
                self.places.clear();
                self.places
                    .extend(places.map(|(from, to)| (*from, to + at)));
                products.multiply(job.w.w, run, x, &self.places, &mut ys[job.y]);
            }
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
            for part in jobs {
                let (here, others) = rest.split_at(len(part));
                let (job, places) = part;
                share.put(here, job, places.clone(), &mut ys[job.y]);
                rest = others;
            }
        }
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

/// Which weights are worth sharing among so many threads: large matrices that are multiplied.
fn shared(program: &Program, weights: &[WeightInfo], n_members: usize) -> Vec<bool> {
    let mut is_shared = vec![false; weights.len()];
    for op in &program.ops {
        if let Op::Linear { w, .. } | Op::ExpertLinear { w, .. } = op {
            let info = &weights[w.id];
            is_shared[w.id] = info.rows >= 2 * BLOCK * n_members
                && CHUNK * info.cols <= desk::X.len()
                && info.rows.div_ceil(n_members) + BLOCK <= desk::part_len(n_members);
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
