// Causal attention, one workgroup (span/whole) or several (span/chunks) to SHARE query heads of a token: y =
// softmax(scores) . v over the positions 0 ..= pos + i. Keys come in tiles, 4 * BLOCKS to an invocation; the softmax is
// kept online (Milakov & Gimelshein 2018).
// score = alpha * SCALE * similarity(q, k), unless `kept` puts something else in its place.
override WG: u32;
override N_HEADS: u32;
override N_KV_HEADS: u32; // query head h reads key head h / (N_HEADS / N_KV_HEADS)
override SHARE: u32; // neighbours of one key head, at most 4: what is read of keys and values serves all
override HEAD_DIM: u32; // a multiple of 4, at most 4 * WG
override SCALE: f32;
override HEAD_GROUPS: u32 = N_HEADS / SHARE;
override QUADS: u32 = HEAD_DIM / 4u;
override WIDTH: u32 = (QUADS + WIDE - 1u) / WIDE; // invocations that have a value's columns between them, WIDE quads each
override SLICES: u32 = WG / WIDTH; // keys whose values are added up side by side
override KEYS: u32 = 4u * BLOCKS; // of an invocation
override TILE: u32 = KEYS * WG; // keys at a time
override SCORES: u32 = SHARE * TILE;
override SINGLES: u32 = SHARE * WG;
override PARTS: u32 = SHARE * SLICES * QUADS;

@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [n, N_HEADS, QUADS]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // [n, N_HEADS, QUADS]

// Of the keys that a workgroup has seen, for one head.
struct Sums {
    acc: vec4<f32>, // of exp(score - top) * value, in four columns
    weight: f32, // of exp(score - top)
    top: f32, // largest score
}

// Lower than every score.
const NONE: f32 = -3.0e38;

var<workgroup> scores: array<f32, SCORES>; // [TILE, SHARE]
var<workgroup> singles: array<f32, SINGLES>; // [WG, SHARE]
var<workgroup> quads: array<vec4<f32>, PARTS>; // [SLICES, QUADS, SHARE]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let head = group.x % HEAD_GROUPS * SHARE;
    let query = group.z * N_HEADS + head;
    let kv_head = head / (N_HEADS / N_KV_HEADS);
    let n_keys = run.pos + group.z + 1u;
    let span = span_of(group.x / HEAD_GROUPS, n_keys);
    if (span.x >= n_keys) {
        return;
    }
    prepare(head, local);
    let slice = local / WIDTH;
    // For each head: the largest score so far; sums of exp(score - top) of own keys, and of exp(score - top) * value
    // in own columns, of every SLICES-th key.
    var top = vec4(NONE);
    var sum = vec4<f32>();
    var acc = array<array<vec4<f32>, 4>, WIDE>();
    for (var first = span.x; first < span.y; first += TILE) {
        let n = min(TILE, span.y - first);
        var fours = array<array<vec4<f32>, 4>, BLOCKS>();
        for (var b = 0u; b < BLOCKS; b += 1u) {
            fours[b] = array(vec4(NONE), vec4(NONE), vec4(NONE), vec4(NONE));
        }
        if (own(local, 0u).x < n) {
            var key = array<vec4<u32>, BLOCKS>();
            for (var b = 0u; b < BLOCKS; b += 1u) {
                key[b] = (first + min(own(local, b), vec4(n - 1u))) * N_KV_HEADS + kv_head;
            }
            fours = similarities(query, key);
            for (var b = 0u; b < BLOCKS; b += 1u) {
                for (var h = 0u; h < SHARE; h += 1u) {
                    let four = kept4(SCALE * alpha(head + h) * fours[b][h], key[b], head + h);
                    fours[b][h] = select(vec4(NONE), four, own(local, b) < vec4(n));
                }
            }
        }
        for (var h = 0u; h < SHARE; h += 1u) {
            var most = fours[0][h];
            for (var b = 1u; b < BLOCKS; b += 1u) {
                most = max(most, fours[b][h]);
            }
            singles[local * SHARE + h] = max(max(most.x, most.y), max(most.z, most.w));
        }
        workgroupBarrier();
        var higher = top;
        for (var i = 0u; i < WG && 4u * i < n; i += 1u) {
            for (var h = 0u; h < SHARE; h += 1u) {
                higher[h] = max(higher[h], singles[i * SHARE + h]);
            }
        }
        let shrink = exp(top - higher);
        top = higher;
        sum *= shrink;
        for (var h = 0u; h < SHARE; h += 1u) {
            for (var b = 0u; b < BLOCKS; b += 1u) {
                let four = exp(fours[b][h] - top[h]);
                let at = own(local, b);
                for (var i = 0u; i < 4u; i += 1u) {
                    scores[at[i] * SHARE + h] = four[i];
                }
                sum[h] += four.x + four.y + four.z + four.w;
            }
            for (var w = 0u; w < WIDE; w += 1u) {
                acc[w][h] *= shrink[h];
            }
        }
        workgroupBarrier();
        for (var j = slice; j < n && slice < SLICES; j += SLICES) {
            var weight = vec4<f32>();
            for (var h = 0u; h < SHARE; h += 1u) {
                weight[h] = scores[j * SHARE + h];
            }
            let at = ((first + j) * N_KV_HEADS + kv_head) * QUADS;
            for (var w = 0u; w < WIDE; w += 1u) {
                let value = value4(at + min(quad(local, w), QUADS - 1u));
                for (var h = 0u; h < SHARE; h += 1u) {
                    acc[w][h] += weight[h] * value;
                }
            }
        }
    }
    workgroupBarrier();
    for (var h = 0u; h < SHARE; h += 1u) {
        singles[local * SHARE + h] = sum[h];
        for (var w = 0u; w < WIDE; w += 1u) {
            if (slice < SLICES && quad(local, w) < QUADS) {
                quads[(slice * QUADS + quad(local, w)) * SHARE + h] = acc[w][h];
            }
        }
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

// Places of an invocation's keys in a tile.
fn own(local: u32, b: u32) -> vec4<u32> {
    return 4u * (b * WG + local) + vec4(0u, 1u, 2u, 3u);
}

// An invocation's columns, four by four.
fn quad(local: u32, w: u32) -> u32 {
    return w * WIDTH + local % WIDTH;
}

fn kept4(four: vec4<f32>, key: vec4<u32>, head: u32) -> vec4<f32> {
    return vec4(
        kept(four.x, key.x, head), kept(four.y, key.y, head), kept(four.z, key.z, head), kept(four.w, key.w, head));
}

fn total(quad: u32, h: u32, top: f32) -> Sums {
    var sums = Sums(vec4<f32>(), 0.0, top);
    for (var slice = 0u; slice < SLICES; slice += 1u) {
        sums.acc += quads[(slice * QUADS + quad) * SHARE + h];
    }
    for (var i = 0u; i < WG; i += 1u) {
        sums.weight += singles[i * SHARE + h];
    }
    return sums;
}
