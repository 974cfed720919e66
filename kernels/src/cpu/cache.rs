//! Keys and values of the context.

use super::{
    Arithmetic,
    integers::{Pairs, quantise},
};
use crate::{
    OutOfMemory,
    formats::LANES,
    memory::zeroed,
    op::Heads,
    program::{Program, Role},
};

/// Positions all of whose values lie together, in the order in which they are read: memory brings one long run sooner than
/// many short ones.
pub const SPAN: usize = 256;
/// Of a head: more would be too many products for one sum.
pub const MOST_DIMENSIONS: usize = 256;

/// What an op has stored for each position.
#[derive(Debug)]
pub enum Cache {
    /// `[context, width]`
    Floats(Vec<f32>),
    /// For attention by dot products.
    Words(Words),
}

/// Whole numbers with a scale for each position and head: `x ≈ scale · q`, `|q| ≤` [`largest`].
#[derive(Debug)]
pub struct Words {
    role: Role,
    head_dim: usize,
    /// A multiple of [`SPAN`].
    context: usize,
    /// As they are multiplied. Keys are pairs of dimensions, of [`LANES`] positions side by side,
    /// `[n_heads, context / LANES, head_dim / 2]`; values are pairs of positions, of as many dimensions,
    /// `[n_heads, context / SPAN, head_dim / LANES, SPAN / 2]`.
    quants: Vec<Pairs>,
    /// `[n_heads, context]`
    scales: Vec<f32>,
}

/// Of a number that is kept. With bytes texts are not those of floats.
pub const LARGEST: i16 = 8191;

const WHAT: &str = "the context's key/value cache";

impl Cache {
    /// The caches of a program; those that nothing reads but attention by dot products keep words, unless the arithmetic is
    /// that of floats.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn all(
        program: &Program,
        context: usize,
        arithmetic: Arithmetic,
    ) -> Result<Vec<Self>, OutOfMemory> {
        let roles = match arithmetic {
            Arithmetic::Floats => vec![None; program.cache_widths.len()],
            Arithmetic::Integers => program
                .roles(|heads| heads.head_dim % LANES == 0 && heads.head_dim <= MOST_DIMENSIONS),
        };
        let cache = |(&width, role): (&usize, Option<(Role, Heads)>)| {
            Ok(match role {
                None => Self::Floats(zeroed(context * width, WHAT)?),
                Some((role, heads)) => {
                    Self::Words(Words::new(role, width, heads.head_dim, context)?)
                }
            })
        };
        program.cache_widths.iter().zip(roles).map(cache).collect()
    }

    /// `[context, width]`, of what not only attention reads.
    pub fn floats(&self) -> &[f32] {
        match self {
            Self::Floats(cache) => cache,
            Self::Words(_) => unreachable!("attention's own"),
        }
    }
}

impl Words {
    /// Of rows of `width`.
    ///
    /// # Errors
    /// [`OutOfMemory`]
    pub fn new(
        role: Role,
        width: usize,
        head_dim: usize,
        context: usize,
    ) -> Result<Self, OutOfMemory> {
        let context = context.next_multiple_of(SPAN);
        Ok(Self {
            role,
            head_dim,
            context,
            quants: zeroed(context * width / LANES / 2, WHAT)?,
            scales: zeroed(context * width / head_dim, WHAT)?,
        })
    }

    /// `x[n_heads · head_dim]` of one position.
    pub fn store(&mut self, pos: usize, x: &[f32]) {
        let mut quants = [0; MOST_DIMENSIONS];
        let quants = &mut quants[..self.head_dim];
        for (head, x) in x.chunks_exact(self.head_dim).enumerate() {
            self.scales[head * self.context + pos] = quantise(x, LARGEST, quants);
            let start = head * self.n_pairs();
            for (dim, q) in quants.iter().enumerate() {
                let (pairs, lane, half) = self.index(pos, dim);
                self.quants[start + pairs][lane][half] = *q;
            }
        }
    }

    /// Where a head has a number: in which of its pairs, which of these, which half.
    fn index(&self, pos: usize, dim: usize) -> (usize, usize, usize) {
        match self.role {
            Role::Keys => {
                let block = pos / LANES * self.head_dim / 2;
                (block + dim / 2, pos % LANES, dim % 2)
            }
            Role::Values => {
                let block = pos / SPAN * self.head_dim / LANES + dim / LANES;
                (block * SPAN / 2 + pos % SPAN / 2, dim % LANES, pos % 2)
            }
        }
    }

    /// Of a head.
    fn n_pairs(&self) -> usize {
        self.context * self.head_dim / LANES / 2
    }

    /// A head's numbers: keys `[context / LANES, head_dim / 2]`, values `[context / SPAN, head_dim / LANES, SPAN / 2]`.
    pub fn quants(&self, head: usize) -> &[Pairs] {
        &self.quants[head * self.n_pairs()..][..self.n_pairs()]
    }

    /// A head's scales, `[context]`.
    pub fn scales(&self, head: usize) -> &[f32] {
        &self.scales[head * self.context..][..self.context]
    }
}
