// Causal attention, one workgroup to a query head of a token: y = softmax(scores) . v over the positions
// 0 ..= pos + i. Keys come in tiles; the softmax is kept online (Milakov & Gimelshein 2018).
// score = alpha * SCALE * similarity(q, k), unless `kept` puts something else in its place.
override WG: u32;
override TILE: u32; // keys at a time
override N_HEADS: u32;
override N_KV_HEADS: u32; // query head h reads key head h / (N_HEADS / N_KV_HEADS)
override HEAD_DIM: u32; // a multiple of 4, at most 4 * WG
override SCALE: f32;

@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [n, N_HEADS, HEAD_DIM / 4]
@group(0) @binding(2) var<storage, read> keys: array<vec4<f32>>; // [context, N_KV_HEADS, HEAD_DIM / 4]
@group(0) @binding(3) var<storage, read> values: array<f32>; // [context, N_KV_HEADS, HEAD_DIM]
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [n, N_HEADS, HEAD_DIM]

var<workgroup> scores: array<f32, TILE>;

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let query = group.z * N_HEADS + group.x;
    let kv_head = group.x / (N_HEADS / N_KV_HEADS);
    let n_keys = run.pos + group.z + 1u;
    prepare(group.x, local);
    let factor = SCALE * alpha(group.x);
    var top = -3.0e38; // largest score so far
    var sum = 0.0; // of exp(score - top)
    var acc = vec4<f32>(); // of exp(score - top) * value, columns local, local + WG, ...
    for (var first = 0u; first < n_keys; first += TILE) {
        let n = min(TILE, n_keys - first);
        for (var j = local; j < n; j += WG) {
            let key = (first + j) * N_KV_HEADS + kv_head;
            scores[j] = kept(factor * similarity(query, key), key, group.x);
        }
        workgroupBarrier();
        var higher = top;
        for (var j = 0u; j < n; j += 1u) {
            higher = max(higher, scores[j]);
        }
        workgroupBarrier();
        for (var j = local; j < n; j += WG) {
            scores[j] = exp(scores[j] - higher);
        }
        workgroupBarrier();
        let shrink = exp(top - higher);
        top = higher;
        sum *= shrink;
        acc *= shrink;
        for (var j = 0u; j < n; j += 1u) {
            sum += scores[j];
            acc += scores[j] * value(((first + j) * N_KV_HEADS + kv_head) * HEAD_DIM + local);
        }
        workgroupBarrier();
    }
    acc /= sum;
    for (var i = 0u; i * WG + local < HEAD_DIM; i += 1u) {
        y[query * HEAD_DIM + i * WG + local] = acc[i];
    }
}

// The columns of a value that an invocation owns; conditions on constants fold away.
fn value(at: u32) -> vec4<f32> {
    var v = vec4(values[at], 0.0, 0.0, 0.0);
    if (HEAD_DIM > WG) {
        v.y = values[at + WG];
    }
    if (HEAD_DIM > 2u * WG) {
        v.z = values[at + 2u * WG];
        v.w = values[at + 3u * WG];
    }
    return v;
}
