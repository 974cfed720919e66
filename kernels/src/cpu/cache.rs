//! Keys and values of the context.

use super::{Arithmetic, integers::quantise};
use crate::{
    OutOfMemory,
    memory::zeroed,
    op::Heads,
    program::{Program, Role},
};

/// Positions whose values lie beside one another, dimension by dimension.
pub const POSITIONS: usize = 16;
/// Dimensions of which these are neighbours.
pub const DIMENSIONS: usize = 4;
/// Positions all of whose values lie together, in the order in which they are read: memory brings one long run sooner than
/// many short ones.
pub const SPAN: usize = 256;
/// Of a head: more would be too many products for one sum.
const MOST_DIMENSIONS: usize = 256;

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
    /// Keys `[n_heads, context, head_dim]`, values
    /// `[n_heads, context / SPAN, head_dim / DIMENSIONS, SPAN / POSITIONS, DIMENSIONS, POSITIONS]`: as they are multiplied.
    quants: Vec<i16>,
    /// `[n_heads, context]`
    scales: Vec<f32>,
}

/// Of a number that is kept. Sums of products fit into 32 bits, and texts are those of floats; with bytes they are not.
pub const fn largest(role: Role) -> i16 {
    match role {
        Role::Keys => 8191,
        Role::Values => 4095,
    }
}

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
            Arithmetic::Integers => program.roles(|heads| {
                heads.head_dim % POSITIONS == 0 && heads.head_dim <= MOST_DIMENSIONS
            }),
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
            quants: zeroed(context * width, WHAT)?,
            scales: zeroed(context * width / head_dim, WHAT)?,
        })
    }

    /// `x[n_heads · head_dim]` of one position.
    pub fn store(&mut self, pos: usize, x: &[f32]) {
        let mut quants = [0; MOST_DIMENSIONS];
        let quants = &mut quants[..self.head_dim];
        for (head, x) in x.chunks_exact(self.head_dim).enumerate() {
            self.scales[head * self.context + pos] = quantise(x, largest(self.role), quants);
            let plane = &mut self.quants[head * self.context * self.head_dim..];
            match self.role {
                Role::Keys => {
                    plane[pos * self.head_dim..][..self.head_dim].copy_from_slice(quants);
                }
                Role::Values => {
                    let span = &mut plane[pos / SPAN * SPAN * self.head_dim..];
                    for (dim, q) in quants.iter().enumerate() {
                        let group = dim / DIMENSIONS * DIMENSIONS * SPAN;
                        let block = pos % SPAN / POSITIONS * POSITIONS * DIMENSIONS;
                        span[group + block + dim % DIMENSIONS * POSITIONS + pos % POSITIONS] = *q;
                    }
                }
            }
        }
    }

    /// A head's keys from `pos` on, `[.., head_dim]`.
    pub fn keys(&self, head: usize, pos: usize) -> &[i16] {
        &self.quants[(head * self.context + pos) * self.head_dim..]
    }

    /// Values of a head, of the [`DIMENSIONS`] from `dim` on, in a span, `[SPAN / POSITIONS, DIMENSIONS, POSITIONS]`.
    pub fn values(
        &self,
        head: usize,
        dim: usize,
        span: usize,
    ) -> &[[[i16; POSITIONS]; DIMENSIONS]] {
        let start = (head * self.context + span * SPAN) * self.head_dim + dim * SPAN;
        self.quants[start..][..DIMENSIONS * SPAN]
            .as_chunks()
            .0
            .as_chunks()
            .0
    }

    /// A head's scales, `[context]`.
    pub fn scales(&self, head: usize) -> &[f32] {
        &self.scales[head * self.context..][..self.context]
    }
}
