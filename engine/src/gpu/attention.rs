//! Attention: which files make its kernel for a metric.

use super::call::{Call, bindings, kernel, read, write};
use super::kernels::{Emitter, TILE_TOKENS, WG};
use super::plan::{Buf, Target};
use crate::op::{Act, Cache, Heads, Metric, Parameter, Similarity};

/// Keys of a workgroup at least, where a head's keys are shared out.
const CHUNK: usize = 4 * WG;
/// Workgroups that share a head's keys at most.
const MOST_CHUNKS: usize = 32;
/// The same for a software adapter, which has few cores and takes long to merge.
const MOST_CHUNKS_IN_SOFTWARE: usize = 4;
/// Query heads of one key head that a workgroup takes at most: see shaders/attention.wgsl.
const MOST_SHARED: usize = 4;
/// Columns of all their queries at most: workgroup memory has these, and of some metrics as many more.
const MOST_COLUMNS: usize = 512;
/// Bytes of a CPU's line of memory.
const LINE: usize = 64;
/// Width of a head in shaders/flash_attention.wgsl at most.
const MOST_BY_TILES: usize = 128;
/// WebGPU's default limit.
const MOST_BUFFERS: usize = 8;

/// Workgroups that share a head's keys where the context is full.
fn n_chunks(context: usize, target: Target) -> usize {
    let most = if target.lanes > 1 {
        MOST_CHUNKS
    } else {
        MOST_CHUNKS_IN_SOFTWARE
    };
    context.div_ceil(CHUNK).min(most)
}

/// Words of the buffer where workgroups leave sums for one another: see shaders/span/chunks.wgsl.
pub(super) fn shared_words(heads: Heads, context: usize, target: Target) -> usize {
    heads.n_heads * (1 + n_chunks(context, target) * (heads.head_dim + 2))
}

/// Invocations whose quads of a value lie in one line of memory, where each has `panes` of them: a power of two, as a
/// workgroup's size is. On hardware, which has one each, neighbours had better read neighbours.
fn turns(heads: Heads, panes: usize, halves: bool) -> usize {
    let quad_bytes = if halves { 8 } else { 16 };
    let most = if panes == 1 {
        1
    } else {
        LINE / (quad_bytes * panes)
    };
    let across = heads.head_dim / 4 / panes;
    let divides = |turns: &usize| *turns <= most && across.is_multiple_of(*turns);
    [4, 2].into_iter().find(divides).unwrap_or(1)
}

/// The largest divisor of `n` that is not above `most`.
fn largest_divisor(n: usize, most: usize) -> usize {
    let divides = |d: &usize| n.is_multiple_of(*d);
    (1..=most).rev().find(divides).expect("1 divides all")
}

impl Emitter<'_> {
    pub(super) fn attention(
        &self,
        q: Act,
        (k, v): (Cache, Cache),
        heads: Heads,
        metric: &Metric,
        y: Act,
    ) -> Call {
        let reads = [self.slot(q), Buf::Cache(k.id), Buf::Cache(v.id)];
        let cache = if self.plan.halves[k.id] {
            "cache/halves"
        } else {
            "cache/floats"
        };
        let constants = vec![
            ("N_HEADS", heads.n_heads as f64),
            ("N_KV_HEADS", heads.n_kv_heads as f64),
            ("HEAD_DIM", heads.head_dim as f64),
            ("CONTEXT", self.plan.context as f64),
            ("SCALE", f64::from(metric.scale)),
        ];
        let mut call = Call {
            kernel: kernel(&["step", cache], constants),
            bindings: bindings(&reads, &[self.slot(y)]),
            groups: heads.n_heads as u32,
            blocks: self.blocks(1),
        };
        let mut parameter = |map: &'static str, index: u32, given: Option<Parameter>| {
            let Some(given) = given else { return };
            call.kernel
                .constants
                .push((map, f64::from(given.map as u32)));
            call.bindings.push(read(index, Buf::Vector(given.w.id)));
        };
        parameter("ALPHA_MAP", 5, metric.alpha);
        parameter("DIAGONAL_MAP", 6, metric.diagonal);
        parameter("RADIUS_MAP", 8, metric.balls.map(|balls| balls.radii));
        if let Some(balls) = metric.balls {
            call.bindings.push(read(7, Buf::Vector(balls.origins.id)));
        }
        if metric.weights().next().is_some() {
            call.kernel.files.push("map");
        }
        call.kernel.files.push(if metric.alpha.is_some() {
            "alpha/given"
        } else {
            "alpha/none"
        });
        if self.is_by_tiles(heads, metric) {
            call.kernel.constants.push(("WG", WG as f64));
            call.blocks = self.blocks(TILE_TOKENS);
            call.kernel
                .files
                .extend(["dots", "tile", "flash_attention"]);
        } else {
            self.by_keys(&mut call, heads, metric, self.plan.halves[v.id]);
        }
        call
    }

    /// Whether many tokens' scores are products of tiles, of which the sums of 128 columns fit into registers.
    fn is_by_tiles(&self, heads: Heads, metric: &Metric) -> bool {
        !self.single && metric.is_product() && heads.head_dim <= MOST_BY_TILES
    }

    /// shaders/attention.wgsl, which knows every metric.
    fn by_keys(&self, call: &mut Call, heads: Heads, metric: &Metric, halves: bool) {
        let share = self.share(heads);
        let panes = self.panes(heads);
        let constants = [
            ("WG", self.wg(heads) as f64),
            ("SHARE", share as f64),
            ("PANES", panes as f64),
            ("TURNS", turns(heads, panes, halves) as f64),
        ];
        call.kernel.constants.extend(constants);
        call.groups /= share as u32;
        let (similarity, lengths) = match (metric.similarity, metric.diagonal) {
            (Similarity::Dot, _) => ("similarity/dot", "lengths/none"),
            (Similarity::Cosine, _) => ("similarity/dot", "lengths/divided"),
            (Similarity::NegSqDist, None) => ("similarity/neg_sq_dist", "lengths/none"),
            (Similarity::NegSqDist, Some(_)) => ("similarity/mahalanobis", "lengths/none"),
        };
        let balls = if metric.balls.is_some() {
            "balls/given"
        } else {
            "balls/none"
        };
        let span = self.span(call);
        call.kernel
            .files
            .extend([similarity, lengths, balls, span, "attention"]);
    }

    /// Invocations of a workgroup. Each looks for the largest score among what all found: on a software adapter, where
    /// nothing is read side by side, fewer of them read less.
    fn wg(&self, heads: Heads) -> usize {
        let least = (heads.head_dim / 4).next_power_of_two();
        if self.target.lanes > 1 {
            WG
        } else {
            least.max(WG / 4)
        }
    }

    /// Query heads of a workgroup. A lone token's are too few on hardware to put them together.
    fn share(&self, heads: Heads) -> usize {
        let n_alike = heads.n_heads / heads.n_kv_heads;
        let is_alone = self.decode && self.target.lanes > 1;
        let most = if is_alone { 1 } else { MOST_SHARED };
        largest_divisor(n_alike, most.min(MOST_COLUMNS / heads.head_dim))
    }

    /// Quads of a value that an invocation adds up: several where a workgroup has few invocations. Those of a software adapter
    /// are lanes of one load; where each is at a line of memory of its own (`turns`), more lines are on their way at a time.
    fn panes(&self, heads: Heads) -> usize {
        let most = WG / self.wg(heads);
        largest_divisor(heads.head_dim / 4, most.max(1))
    }

    /// Shares a head's keys out where one token alone would leave most of a GPU idle, or a core of a software adapter.
    fn span(&self, call: &mut Call) -> &'static str {
        let n_chunks = n_chunks(self.plan.context, self.target);
        if !self.decode || n_chunks == 1 || call.bindings.len() == MOST_BUFFERS {
            return "span/whole";
        }
        call.kernel
            .constants
            .extend([("CHUNKS", n_chunks as f64), ("CHUNK", CHUNK as f64)]);
        call.bindings.push(write(9, Buf::SharedSums));
        call.groups *= n_chunks as u32;
        "span/chunks"
    }
}
