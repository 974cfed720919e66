// Causal attention, one workgroup (span/whole) or several (span/chunks) to SHARE query heads of a token: y =
// softmax(scores) . v over the positions 0 ..= pos + i. Keys come in tiles, four to an invocation; the softmax is kept
// online (Milakov & Gimelshein 2018).
// score = alpha * SCALE * similarity(q, k), unless `kept` puts something else in its place.
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
    let kv_head = head / (N_HEADS / N_KV_HEADS);
    let n_keys = run.pos + group.z + 1u;
    let span = span_of(group.x / HEAD_GROUPS, n_keys);
    if (span.x >= n_keys) {
        return;
    }
    prepare(head, local);
    let turn = local / (WG / TURNS);
    let place = local % (WG / TURNS);
    let slice = place / (ACROSS / TURNS);
    let pane = (place % (ACROSS / TURNS) * TURNS + turn) * PANES;
    // For each head: the largest score so far; sums of exp(score - top) of own keys, and of exp(score - top) * value
    // in own quads, of every SLICES-th key.
    var top = vec4(NONE);
    var sum = vec4<f32>();
    var acc = array<vec4<f32>, 16>(); // [PANES, SHARE]
    for (var first = span.x; first < span.y; first += TILE) {
        let n = min(TILE, span.y - first);
        let own = 4u * local + vec4(0u, 1u, 2u, 3u);
        var fours = array(vec4(NONE), vec4(NONE), vec4(NONE), vec4(NONE));
        if (own.x < n) {
            let key = (first + min(own, vec4(n - 1u))) * N_KV_HEADS + kv_head;
            fours = similarities(query, key);
            for (var h = 0u; h < SHARE; h += 1u) {
                let four = kept4(SCALE * alpha(head + h) * fours[h], key, head + h);
                fours[h] = select(vec4(NONE), four, own < vec4(n));
            }
        }
        var by_key = transpose(mat4x4(fours[0], fours[1], fours[2], fours[3]));
        singles[local] = max(max(by_key[0], by_key[1]), max(by_key[2], by_key[3]));
        workgroupBarrier();
        var higher = top;
        for (var i = 0u; 4u * i < n; i += 1u) {
            higher = max(higher, singles[i]);
        }
        let shrink = exp(top - higher);
        top = higher;
        sum *= shrink;
        for (var i = 0u; i < 4u; i += 1u) {
            let weights = exp(by_key[i] - top);
            scores[4u * local + i] = weights;
            sum += weights;
        }
        for (var p = 0u; p < PANES; p += 1u) {
            for (var h = 0u; h < SHARE; h += 1u) {
                acc[p * SHARE + h] *= shrink[h];
            }
        }
        workgroupBarrier();
        for (var j = slice; j < n && slice < SLICES; j += SLICES) {
            let at = ((first + j) * N_KV_HEADS + kv_head) * QUADS + pane;
            let weights = scores[j];
            for (var p = 0u; p < PANES; p += 1u) {
                let value = value4(at + p);
                for (var h = 0u; h < SHARE; h += 1u) {
                    acc[p * SHARE + h] += weights[h] * value;
                }
            }
        }
    }
    workgroupBarrier();
    singles[local] = sum;
    if (slice < SLICES) {
        for (var i = 0u; i < PANES * SHARE; i += 1u) {
            quads[(slice * QUADS + pane) * SHARE + i] = acc[i];
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
        sums.weight += singles[i][h];
    }
    return sums;
}
