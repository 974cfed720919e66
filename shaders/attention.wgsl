// Causal attention, one workgroup (span/whole) or several (span/chunks) to a query head of a token: y = softmax(scores) . v over the positions
// 0 ..= pos + i. Keys come in tiles, four to an invocation; the softmax is kept online (Milakov & Gimelshein 2018).
// score = alpha * SCALE * similarity(q, k), unless `kept` puts something else in its place.
override WG: u32;
override N_HEADS: u32;
override N_KV_HEADS: u32; // query head h reads key head h / (N_HEADS / N_KV_HEADS)
override HEAD_DIM: u32; // a multiple of 4, at most 4 * WG
override SCALE: f32;
override QUADS: u32 = HEAD_DIM / 4u;
override SLICES: u32 = WG / QUADS; // keys whose values are added up side by side
override TILE: u32 = 4u * WG; // keys at a time

@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [n, N_HEADS, QUADS]
@group(0) @binding(2) var<storage, read> keys: array<vec4<f32>>; // [context, N_KV_HEADS, QUADS]
@group(0) @binding(3) var<storage, read> values: array<vec4<f32>>; // [context, N_KV_HEADS, QUADS]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // [n, N_HEADS, QUADS]

// Of the keys that a workgroup has seen.
struct Sums {
    acc: vec4<f32>, // of exp(score - top) * value, in four columns
    weight: f32, // of exp(score - top)
    top: f32, // largest score
}

// Lower than every score.
const NONE: f32 = -3.0e38;

var<workgroup> scores: array<f32, TILE>;
var<workgroup> singles: array<f32, WG>;
var<workgroup> quads: array<vec4<f32>, WG>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let head = head_of(group.x);
    let query = group.z * N_HEADS + head;
    let kv_head = head / (N_HEADS / N_KV_HEADS);
    let n_keys = run.pos + group.z + 1u;
    let span = span_of(group.x, n_keys);
    if (span.x >= n_keys) {
        return;
    }
    prepare(head, local);
    let factor = SCALE * alpha(head);
    let slice = local / QUADS;
    var top = NONE; // largest score so far
    var sum = 0.0; // of exp(score - top), own keys
    var acc = vec4<f32>(); // of exp(score - top) * value, own columns, every SLICES-th key
    for (var first = span.x; first < span.y; first += TILE) {
        let n = min(TILE, span.y - first);
        let own = 4u * local + vec4(0u, 1u, 2u, 3u);
        var four = vec4(NONE);
        if (own.x < n) {
            four = score4(query, (first + min(own, vec4(n - 1u))) * N_KV_HEADS + kv_head, factor, head);
            four = select(vec4(NONE), four, own < vec4(n));
        }
        singles[local] = max(max(four.x, four.y), max(four.z, four.w));
        workgroupBarrier();
        var higher = top;
        for (var i = 0u; 4u * i < n; i += 1u) {
            higher = max(higher, singles[i]);
        }
        four = exp(four - higher);
        for (var i = 0u; i < 4u; i += 1u) {
            scores[4u * local + i] = four[i];
        }
        workgroupBarrier();
        let shrink = exp(top - higher);
        top = higher;
        sum = sum * shrink + four.x + four.y + four.z + four.w;
        acc *= shrink;
        for (var j = slice; j < n && slice < SLICES; j += SLICES) {
            acc += scores[j] * values[((first + j) * N_KV_HEADS + kv_head) * QUADS + local % QUADS];
        }
    }
    workgroupBarrier();
    singles[local] = sum;
    quads[local] = acc;
    workgroupBarrier();
    var sums = Sums();
    if (local < QUADS) {
        sums = Sums(total_quad(local), total_single(), top);
    }
    close(sums, group.x, query, n_keys, local);
}

fn score4(query: u32, key: vec4<u32>, factor: f32, head: u32) -> vec4<f32> {
    let four = factor * similarity4(query, key);
    return vec4(
        kept(four.x, key.x, head), kept(four.y, key.y, head), kept(four.z, key.z, head), kept(four.w, key.w, head));
}

fn total_single() -> f32 {
    var total = 0.0;
    for (var i = 0u; i < WG; i += 1u) {
        total += singles[i];
    }
    return total;
}

fn total_quad(quad: u32) -> vec4<f32> {
    var total = vec4<f32>();
    for (var slice = 0u; slice < SLICES; slice += 1u) {
        total += quads[slice * QUADS + quad];
    }
    return total;
}
