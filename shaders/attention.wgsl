// Causal attention, one workgroup (span/whole) or several (span/chunks) to SHARE query heads of a token: y =
// softmax(scores) . v over the positions 0 ..= pos + i. Keys come in tiles, four to an invocation; the softmax is kept
// online (Milakov & Gimelshein 2018).
// score = alpha * SCALE * similarity(q, k), unless `kept` puts something else in its place.
//
// What is of several heads or quads is written out: an array stays in registers where its index is a constant, and
// SwiftShader, which unrolls no loops, took more than twice as long.
override WG: u32;
override N_HEADS: u32;
override N_KV_HEADS: u32; // query head h reads key head h / (N_HEADS / N_KV_HEADS)
override SHARE: u32; // neighbours of one key head, at most 4: what is read of keys and values serves all
override HEAD_DIM: u32; // a multiple of 4, at most 4 * WG
override SCALE: f32;
override HEAD_GROUPS: u32 = N_HEADS / SHARE;
override QUADS: u32 = HEAD_DIM / 4u;
override PANES: u32; // neighbouring quads of a value that an invocation adds up, at most 4
override ACROSS: u32 = QUADS / PANES; // invocations to a value
override SLICES: u32 = WG / ACROSS; // keys whose values are added up side by side
override TURNS: u32; // invocations whose quads lie in one line of memory: they are set apart, so that neighbours read many
override TILE: u32 = 4u * WG; // keys at a time
override OWN: u32 = SLICES * QUADS * SHARE;
override ALL_QUADS: u32 = SHARE * QUADS;
override CONTEXT: u32; // positions that keys and values have room for

@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [n, N_HEADS, QUADS]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // [n, N_HEADS, QUADS]

// Of the keys that a workgroup has seen, for one head.
struct Sums {
    acc: vec4<f32>, // of exp(score - top) * value, in four columns
    weight: f32, // of exp(score - top)
    top: f32, // largest score
}

// Of own values, weighted: a matrix for each of PANES quads, a column for each of SHARE heads.
struct Panes {
    a: mat4x4<f32>,
    b: mat4x4<f32>,
    c: mat4x4<f32>,
    d: mat4x4<f32>,
}

// Lower than every score.
const NONE: f32 = -3.0e38;
const NONE_OF_FOUR = mat4x4<f32>(vec4(NONE), vec4(NONE), vec4(NONE), vec4(NONE));

var<workgroup> queries: array<vec4<f32>, ALL_QUADS>; // [SHARE, QUADS]
// A component for each head: what all invocations read is one load.
var<workgroup> scores: array<vec4<f32>, TILE>;
var<workgroup> singles: array<vec4<f32>, WG>;
var<workgroup> quads: array<vec4<f32>, OWN>; // [SLICES, QUADS, SHARE]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let head = group.x % HEAD_GROUPS * SHARE;
    let query = group.z * N_HEADS + head;
    let row0 = head / (N_HEADS / N_KV_HEADS) * CONTEXT; // of the head's keys and values
    let n_keys = run.pos + group.z + 1u;
    let span = span_of(group.x / HEAD_GROUPS, n_keys);
    if (span.x >= n_keys) {
        return;
    }
    for (var i = local; i < ALL_QUADS; i += WG) {
        queries[i] = q[query * QUADS + i];
    }
    prepare(head, local);
    prepare_lengths(local);
    workgroupBarrier();
    let turn = local / (WG / TURNS);
    let place = local % (WG / TURNS);
    let slice = place / (ACROSS / TURNS);
    let pane = (place % (ACROSS / TURNS) * TURNS + turn) * PANES;
    // For each head: the largest score so far; sums of exp(score - top) of own keys, and of exp(score - top) * value
    // in own quads, of every SLICES-th key.
    var top = vec4(NONE);
    var sum = vec4<f32>();
    var acc = Panes();
    for (var first = span.x; first < span.y; first += TILE) {
        let n = min(TILE, span.y - first);
        let own = 4u * local + vec4(0u, 1u, 2u, 3u);
        var by_key = NONE_OF_FOUR;
        if (own.x < n) {
            by_key = four_scores(row0 + first + min(own, vec4(n - 1u)), own < vec4(n), head);
        }
        singles[local] = max(max(by_key[0], by_key[1]), max(by_key[2], by_key[3]));
        workgroupBarrier();
        var higher = top;
        for (var i = 0u; 4u * i < n; i += 1u) {
            higher = max(higher, singles[i]);
        }
        let shrink = exp(top - higher);
        top = higher;
        let weights = mat4x4(exp(by_key[0] - top), exp(by_key[1] - top), exp(by_key[2] - top), exp(by_key[3] - top));
        scores[own.x] = weights[0];
        scores[own.y] = weights[1];
        scores[own.z] = weights[2];
        scores[own.w] = weights[3];
        sum = sum * shrink + (weights[0] + weights[1]) + (weights[2] + weights[3]);
        acc = shrunk(acc, shrink);
        workgroupBarrier();
        // A second condition would keep llvmpipe from unrolling.
        let end = select(0u, n, slice < SLICES);
        for (var j = slice; j < end; j += SLICES) {
            acc = with_value(acc, scores[j], (row0 + first + j) * QUADS + pane);
        }
    }
    workgroupBarrier();
    singles[local] = sum;
    if (slice < SLICES) {
        leave_panes(acc, (slice * QUADS + pane) * SHARE);
    }
    workgroupBarrier();
    for (var h = 0u; h < SHARE; h += 1u) {
        var sums = Sums();
        if (local < QUADS) {
            sums = total(local, h, top[h]);
        }
        close(sums, head + h, group.x / HEAD_GROUPS, n_keys, query + h, local);
    }
}

// Of four keys, each with SHARE heads; NONE for those that are not there.
fn four_scores(key: vec4<u32>, is_there: vec4<bool>, head: u32) -> mat4x4<f32> {
    var sums = mat4x4<f32>();
    var squares = vec4<f32>();
    for (var i = 0u; i < QUADS; i += 1u) {
        let at = key * QUADS + i;
        let four = mat4x4(key4(at.x), key4(at.y), key4(at.z), key4(at.w));
        squares += length_term(four);
        sums[0] += term(0u, i, four);
        if (SHARE > 1u) {
            sums[1] += term(1u, i, four);
        }
        if (SHARE > 2u) {
            sums[2] += term(2u, i, four);
        }
        if (SHARE > 3u) {
            sums[3] += term(3u, i, four);
        }
    }
    var by_head = NONE_OF_FOUR;
    by_head[0] = score(sums[0], squares, 0u, key, is_there, head);
    if (SHARE > 1u) {
        by_head[1] = score(sums[1], squares, 1u, key, is_there, head);
    }
    if (SHARE > 2u) {
        by_head[2] = score(sums[2], squares, 2u, key, is_there, head);
    }
    if (SHARE > 3u) {
        by_head[3] = score(sums[3], squares, 3u, key, is_there, head);
    }
    return transpose(by_head);
}

fn score(sum: vec4<f32>, squares: vec4<f32>, h: u32, key: vec4<u32>, is_there: vec4<bool>, head: u32) -> vec4<f32> {
    let four = SCALE * alpha(head + h) * divided(sum, squares, h);
    return select(vec4(NONE), kept4(four, key, head + h), is_there);
}

fn kept4(four: vec4<f32>, key: vec4<u32>, head: u32) -> vec4<f32> {
    return vec4(
        kept(four.x, key.x, head), kept(four.y, key.y, head), kept(four.z, key.z, head), kept(four.w, key.w, head));
}

fn shrunk(acc: Panes, by: vec4<f32>) -> Panes {
    var sums = acc;
    sums.a = scaled(sums.a, by);
    if (PANES > 1u) {
        sums.b = scaled(sums.b, by);
    }
    if (PANES > 2u) {
        sums.c = scaled(sums.c, by);
    }
    if (PANES > 3u) {
        sums.d = scaled(sums.d, by);
    }
    return sums;
}

fn scaled(heads: mat4x4<f32>, by: vec4<f32>) -> mat4x4<f32> {
    var sums = heads;
    sums[0] *= by.x;
    if (SHARE > 1u) {
        sums[1] *= by.y;
    }
    if (SHARE > 2u) {
        sums[2] *= by.z;
    }
    if (SHARE > 3u) {
        sums[3] *= by.w;
    }
    return sums;
}

fn with_value(acc: Panes, weights: vec4<f32>, at: u32) -> Panes {
    var sums = acc;
    sums.a = added(sums.a, weights, value4(at));
    if (PANES > 1u) {
        sums.b = added(sums.b, weights, value4(at + 1u));
    }
    if (PANES > 2u) {
        sums.c = added(sums.c, weights, value4(at + 2u));
    }
    if (PANES > 3u) {
        sums.d = added(sums.d, weights, value4(at + 3u));
    }
    return sums;
}

fn added(heads: mat4x4<f32>, weights: vec4<f32>, value: vec4<f32>) -> mat4x4<f32> {
    var sums = heads;
    sums[0] += weights.x * value;
    if (SHARE > 1u) {
        sums[1] += weights.y * value;
    }
    if (SHARE > 2u) {
        sums[2] += weights.z * value;
    }
    if (SHARE > 3u) {
        sums[3] += weights.w * value;
    }
    return sums;
}

fn leave_panes(acc: Panes, at: u32) {
    leave_heads(acc.a, at);
    if (PANES > 1u) {
        leave_heads(acc.b, at + SHARE);
    }
    if (PANES > 2u) {
        leave_heads(acc.c, at + 2u * SHARE);
    }
    if (PANES > 3u) {
        leave_heads(acc.d, at + 3u * SHARE);
    }
}

fn leave_heads(heads: mat4x4<f32>, at: u32) {
    quads[at] = heads[0];
    if (SHARE > 1u) {
        quads[at + 1u] = heads[1];
    }
    if (SHARE > 2u) {
        quads[at + 2u] = heads[2];
    }
    if (SHARE > 3u) {
        quads[at + 3u] = heads[3];
    }
}

fn total(quad: u32, h: u32, top: f32) -> Sums {
    var sums = Sums(vec4<f32>(), 0.0, top);
    for (var slice = 0u; slice < SLICES; slice += 1u) {
        sums.acc += quads[(slice * QUADS + quad) * SHARE + h];
    }
    for (var i = 0u; i < WG; i += 1u) {
        sums.weight += singles[i][h];
    }
    return sums;
}
