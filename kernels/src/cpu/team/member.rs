//! What a thread other than the first does.

use super::{Desk, Share, desk};
use crate::{
    cpu::{
        Arithmetic, Packed,
        linear::{Job, Products},
    },
    formats::{Format, Rows, WeightInfo},
};
use std::ops::Range;

/// What a team is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Nothing any more.
    Leave,
    /// Forget all weights; `arithmetic`.
    Clear,
    /// Make room for the next weight, by its index: `format, n_pieces, rows of a piece, cols`; no pieces where it is not
    /// shared.
    Room,
    /// `weight, member, row, n_rows`: bytes of quants and scales lie in `x`.
    Upload,
    /// `n_words, n_numbers`: the jobs of so many words (see [`announce`]), and `x`, which is new if it has numbers.
    Multiply,
}

impl Task {
    const ALL: [Task; 5] = [
        Task::Leave,
        Task::Clear,
        Task::Room,
        Task::Upload,
        Task::Multiply,
    ];

    fn of(kind: u32) -> Self {
        Self::ALL[kind as usize]
    }
}

const ARITHMETICS: [Arithmetic; 2] = [Arithmetic::Floats, Arithmetic::Integers];

/// A format's number on the desk.
pub fn format_code(format: Format) -> usize {
    Format::ALL
        .iter()
        .position(|f| *f == format)
        .expect("all formats are there")
}

/// An arithmetic's.
pub fn arithmetic_code(arithmetic: Arithmetic) -> usize {
    ARITHMETICS
        .iter()
        .position(|a| *a == arithmetic)
        .expect("both are there")
}

/// Words of a job beside its places.
pub const HEAD: usize = 4;

/// Adds a job's words: the weight, its rows, which rows of `x`. A member leaves the results in this order, `[n, rows]`
/// of each job with its own rows.
pub fn announce(job: &Job<'_>, places: Range<usize>, words: &mut Vec<u32>) {
    let head: [usize; HEAD] = [job.w.id, job.rows.start, job.rows.end, places.len()];
    let from = job.places[places].iter().map(|(from, _)| *from);
    words.extend(head.into_iter().chain(from).map(|word| word as u32));
}

/// Does what is asked at the desk, until it is told to leave. `member` is this thread's number, from 1 on.
pub fn serve(desk: &Desk, member: usize, n_members: usize) {
    let mut member = Member {
        desk,
        share: Share { member, n_members },
        weights: Vec::new(),
        products: Products::new(Arithmetic::default()),
        x: Vec::new(),
        y: Vec::new(),
        places: Vec::new(),
        words: Vec::new(),
    };
    let mut last = 0;
    loop {
        let (number, kind) = desk.next(last);
        last = number;
        let task = Task::of(kind);
        let is_well = member.work(task);
        desk.done(is_well);
        if task == Task::Leave {
            return;
        }
    }
}

struct Member<'d> {
    desk: &'d Desk,
    share: Share,
    /// This member's rows; none of those that are not shared.
    weights: Vec<Packed>,
    products: Products,
    x: Vec<f32>,
    y: Vec<f32>,
    places: Vec<(usize, usize)>,
    words: Vec<u32>,
}

impl Member<'_> {
    /// False where memory does not suffice.
    fn work(&mut self, task: Task) -> bool {
        match task {
            Task::Leave => {}
            Task::Clear => {
                let [arithmetic] = self.desk.arguments();
                self.weights.clear();
                self.products = Products::new(ARITHMETICS[arithmetic]);
            }
            Task::Room => {
                let [format, n_pieces, n_rows, cols] = self.desk.arguments();
                let info = WeightInfo {
                    name: String::new(),
                    format: Format::ALL[format],
                    rows: n_pieces * self.share.of(n_rows).len(),
                    cols,
                };
                let Ok(weight) = Packed::new(&info) else {
                    return false;
                };
                self.weights.push(weight);
            }
            Task::Upload => {
                let [weight, member, row0, n_rows] = self.desk.arguments();
                if member == self.share.member {
                    self.upload(weight, row0, n_rows);
                }
            }
            Task::Multiply => self.multiply(),
        }
        true
    }

    fn upload(&mut self, weight: usize, row0: usize, n_rows: usize) {
        let w = &mut self.weights[weight];
        let n_quants = n_rows * w.format.row_quants_bytes(w.cols);
        let n_scales = n_rows * w.format.row_scales_bytes(w.cols);
        let mut quants = vec![0; (n_quants + n_scales).next_multiple_of(4)];
        self.desk.read_bytes(desk::X, &mut quants);
        quants.truncate(n_quants + n_scales);
        let scales = quants.split_off(n_quants);
        w.write(&Rows {
            row0,
            n_rows,
            quants,
            scales,
        });
    }

    fn multiply(&mut self) {
        let [n_words, n_numbers] = self.desk.arguments();
        if n_numbers > 0 {
            self.x.resize(n_numbers, 0.0);
            self.desk.read(desk::X, &mut self.x);
            self.products.forget();
        }
        self.words.resize(n_words, 0);
        let words = bytemuck::cast_slice_mut(&mut self.words);
        self.desk.read_bytes(desk::JOBS, words);
        self.y.clear();
        let mut rest = &self.words[..];
        while let [weight, start, end, n_places, after @ ..] = rest {
            let (places, others) = after.split_at(*n_places as usize);
            let w = &self.weights[*weight as usize];
            let rows = self.share.place(&(*start as usize..*end as usize));
            self.places.clear();
            for &from in places {
                let to = self.y.len();
                self.places.push((from as usize, to));
                self.y.resize(to + rows.len(), 0.0);
            }
            self.products
                .multiply(w, rows, &self.x, &self.places, &mut self.y);
            rest = others;
        }
        let area = desk::of_member(self.share.member, self.share.n_members);
        self.desk.write(area, &self.y);
    }
}
