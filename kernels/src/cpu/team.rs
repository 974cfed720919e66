//! Several threads that multiply together: the first one has all weights, every other one keeps some rows of each large
//! matrix and multiplies those, where that is worth a meeting.
//!
//! Everybody multiplies rows that lie one after another: a core that skips the rows of others takes twice as long for its
//! own, because what is to be fetched next is nowhere near.
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
};
use crate::{
    OutOfMemory,
    formats::{Format, Rows, WeightInfo},
    op::Op,
    program::Program,
};
use member::Task;
use std::{ops::Range, sync::Arc};

/// A thread's rows are so many or a multiple, but for the last thread's: what kernels take at once.
const STEP: usize = 16;

/// Multiplications that are worth a meeting: at some ten billion a second, what two threads save of fewer is less than
/// what they wait for one another.
const WORTH: usize = 1 << 18;

/// Which rows are whose. A matrix is a piece, and each expert's of those that lie below one another; of every piece
/// each member keeps one part, and its parts of a weight lie one after another.
#[derive(Debug, Clone, Copy)]
struct Share {
    member: usize,
    n_members: usize,
}

impl Share {
    /// Which rows of a piece of so many are this member's.
    fn of(self, n_rows: usize) -> Range<usize> {
        let start = |member| match member {
            last if last == self.n_members => n_rows,
            member => n_rows * member / self.n_members / STEP * STEP,
        };
        start(self.member)..start(self.member + 1)
    }

    /// The same, of the piece that is these rows of a weight.
    fn within(self, piece: &Range<usize>) -> Range<usize> {
        let own = self.of(piece.len());
        piece.start + own.start..piece.start + own.end
    }

    /// Where this member keeps its part of that piece.
    fn place(self, piece: &Range<usize>) -> Range<usize> {
        let n_rows = self.of(piece.len()).len();
        let start = piece.start / piece.len() * n_rows;
        start..start + n_rows
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
    /// Of each weight, how many rows its pieces have; none where the others have no part of it.
    pieces: Vec<Option<usize>>,
    /// What another member has made, `[n_places, rows]` of each job with its rows.
    part: Vec<f32>,
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
        let lens = (0..n_members).map(|member| share(member).of(job.rows.len()).len());
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
    /// [`OutOfMemory`]
    pub fn new(
        crew: Crew,
        arithmetic: Arithmetic,
        program: &Program,
        weights: &[WeightInfo],
    ) -> Result<Self, OutOfMemory> {
        let team = Self {
            pieces: pieces(program, weights, crew.n_members()),
            crew,
            part: Vec::new(),
            words: Vec::new(),
        };
        team.run(Task::Clear, &[member::arithmetic_code(arithmetic)]);
        for (info, piece) in weights.iter().zip(&team.pieces) {
            let n_pieces = piece.map_or(0, |n_rows| info.rows / n_rows);
            let format = member::format_code(info.format);
            let room = [format, n_pieces, piece.unwrap_or(0), info.cols];
            if team.run(Task::Room, &room) > 0 {
                let n_bytes = info.format.bytes(info.rows, info.cols);
                return Err(OutOfMemory::of_process(n_bytes, "a thread's weights"));
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
        let Some(n_rows) = self.pieces[id] else {
            return;
        };
        let all = rows.row0..rows.row0 + rows.n_rows;
        for piece in all.start / n_rows..all.end.div_ceil(n_rows) {
            let piece = piece * n_rows..(piece + 1) * n_rows;
            for member in 1..self.n_members() {
                let share = self.share(member);
                let own = share.within(&piece);
                let here = own.start.max(all.start)..own.end.min(all.end);
                let place = share.place(&piece).start + here.start - own.start;
                self.send((id, member, place), (format, cols), rows, here);
            }
        }
    }

    /// Brings some of these rows, by their numbers in the weight, to a member: to its rows from `place` on.
    fn send(
        &self,
        (id, member, place): (usize, usize, usize),
        (format, cols): (Format, usize),
        rows: &Rows,
        own: Range<usize>,
    ) {
        let (q, s) = (format.row_quants_bytes(cols), format.row_scales_bytes(cols));
        let at_once = 4 * desk::X.len() / (q + s + 1);
        for first in (0..own.len()).step_by(at_once) {
            let n_rows = at_once.min(own.len() - first);
            let from = own.start + first - rows.row0;
            let mut bytes = rows.quants[from * q..][..n_rows * q].to_vec();
            bytes.extend_from_slice(&rows.scales[from * s..][..n_rows * s]);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            self.desk().write_bytes(desk::X, &bytes);
            self.run(Task::Upload, &[id, member, place + first, n_rows]);
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
            jobs.iter().partition(|job| self.pieces[job.w.id].is_some());
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
            let rows = self.share(0).within(&job.rows);
            let places = &job.places[places.clone()];
            products.multiply(job.w.w, rows, x, places, &mut ys[job.y]);
        }
        self.desk().finish(n_members as u32 - 1);
        for member in 1..n_members {
            let share = self.share(member);
            let own = |job: &Job<'_>| share.of(job.rows.len());
            let len = |(job, places): &(&Job<'_>, Range<usize>)| own(job).len() * places.len();
            self.part.resize(jobs.iter().map(len).sum(), 0.0);
            let area = desk::of_member(member, n_members);
            self.crew.at.desk.read(area, &mut self.part);
            let mut rest = &self.part[..];
            for (job, places) in jobs {
                let own = own(job);
                for (_, to) in &job.places[places.clone()] {
                    let (here, others) = rest.split_at(own.len());
                    ys[job.y][to + own.start..][..own.len()].copy_from_slice(here);
                    rest = others;
                }
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

/// Of each weight that is worth sharing among so many threads, how many rows its pieces have: of large matrices that
/// are multiplied.
fn pieces(program: &Program, weights: &[WeightInfo], n_members: usize) -> Vec<Option<usize>> {
    let mut pieces = vec![None; weights.len()];
    for op in &program.ops {
        let (w, n_pieces) = match op {
            Op::Linear { w, .. } => (w, 1),
            Op::ExpertLinear { w, n_experts, .. } => (w, *n_experts),
            _ => continue,
        };
        let info = &weights[w.id];
        let n_rows = info.rows / n_pieces;
        let is_worth = n_rows >= STEP * n_members
            && CHUNK * info.cols <= desk::X.len()
            && n_rows.div_ceil(n_members) + n_members * STEP <= desk::part_len(n_members);
        pieces[w.id] = is_worth.then_some(n_rows);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row is somebody's, and a member's parts lie one after another.
    #[test]
    fn rows_are_shared_out_whole() {
        for n_members in 1..5 {
            for n_rows in [1, 16, 35, 64, 300, 577] {
                let pieces = [0..n_rows, n_rows..2 * n_rows];
                let mut next = 0;
                for member in 0..n_members {
                    let share = Share { member, n_members };
                    assert_eq!(share.within(&pieces[0]).start, next);
                    next = share.within(&pieces[0]).end;
                    assert_eq!(share.place(&pieces[0]).start, 0);
                    assert_eq!(share.place(&pieces[0]).end, share.place(&pieces[1]).start);
                }
                assert_eq!(next, n_rows, "{n_members} {n_rows}");
            }
        }
    }
}
