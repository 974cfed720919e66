//! Attention: which files make its kernel for a metric.

use super::call::{Call, bindings, kernel, read, write};
use super::kernels::{Emitter, TILE_TOKENS, WG};
use super::plan::Buf;
use crate::op::{Act, Cache, Heads, Metric, Parameter, Similarity};

/// Keys that a workgroup looks at at a time, at most.
const TILE: usize = 4 * WG;
/// Workgroups that share a head's keys at most.
const MOST_CHUNKS: usize = 32;
/// Query heads of one key head that a workgroup takes at most: see shaders/attention.wgsl.
const MOST_SHARED: usize = 4;
/// Width of a head in shaders/flash_attention.wgsl at most.
const MOST_BY_TILES: usize = 128;
/// WebGPU's default limit.
const MOST_BUFFERS: usize = 8;

/// Keys of a workgroup, where a head's keys are shared out.
fn chunk(context: usize) -> usize {
    context.div_ceil(MOST_CHUNKS).next_multiple_of(TILE)
}

/// Words of the buffer where workgroups leave sums for one another: see shaders/span/chunks.wgsl.
pub(super) fn shared_words(heads: Heads, context: usize) -> usize {
    let n_chunks = context.div_ceil(chunk(context));
    heads.n_heads * (1 + n_chunks * (heads.head_dim + 2))
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
            self.by_keys(&mut call, heads, metric);
        }
        call
    }

    /// Whether many tokens' scores are products of tiles, of which the sums of 128 columns fit into registers.
    fn is_by_tiles(&self, heads: Heads, metric: &Metric) -> bool {
        !self.single && metric.is_product() && heads.head_dim <= MOST_BY_TILES
    }

    /// shaders/attention.wgsl, which knows every metric.
    fn by_keys(&self, call: &mut Call, heads: Heads, metric: &Metric) {
        let share = self.share(heads);
        let constants = [
            ("WG", self.wg(heads) as f64),
            ("SHARE", share as f64),
            ("PANES", self.panes(heads) as f64),
        ];
        call.kernel.constants.extend(constants);
        call.groups /= share as u32;
        let similarity = match (metric.similarity, metric.diagonal) {
            (Similarity::Dot, _) => "similarity/dot",
            (Similarity::NegSqDist, None) => "similarity/neg_sq_dist",
            (Similarity::NegSqDist, Some(_)) => "similarity/mahalanobis",
            (Similarity::Cosine, _) => "similarity/cosine",
        };
        let balls = if metric.balls.is_some() {
            "balls/given"
        } else {
            "balls/none"
        };
        let span = self.span(call);
        call.kernel
            .files
            .extend([similarity, balls, span, "attention"]);
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
        largest_divisor(n_alike, most)
    }

    /// Quads of a value that an invocation adds up: several where a workgroup has few invocations. Those of a software adapter
    /// are lanes of one load; where each is at a line of memory of its own, more lines are on their way at a time.
    fn panes(&self, heads: Heads) -> usize {
        let most = WG / self.wg(heads);
        largest_divisor(heads.head_dim / 4, most.max(1))
    }

    /// Shares a head's keys out where one token alone would leave most of a GPU idle, or a core of a software adapter.
    fn span(&self, call: &mut Call) -> &'static str {
        let context = self.plan.context;
        let chunk = chunk(context);
        if !self.decode || context <= chunk || call.bindings.len() == MOST_BUFFERS {
            return "span/whole";
        }
        let n_chunks = context.div_ceil(chunk);
        call.kernel
            .constants
            .extend([("CHUNKS", n_chunks as f64), ("CHUNK", chunk as f64)]);
        call.bindings.push(write(9, Buf::SharedSums));
        call.groups *= n_chunks as u32;
        "span/chunks"
    }
}
