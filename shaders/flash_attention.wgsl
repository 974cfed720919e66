// Causal attention of many tokens for hardware (FlashAttention, Dao et al. 2022): a workgroup to a head and 32 tokens, so
// that keys and values are read once for all of them. Scores are products of keys with queries, what becomes of them
// products of values' columns with the scores' exponentials, both by tiles; the softmax is kept online.
// score = alpha * SCALE * q . k
override WG: u32;
override N_HEADS: u32;
override N_KV_HEADS: u32; // query head h reads key head h / (N_HEADS / N_KV_HEADS)
override HEAD_DIM: u32; // a multiple of 4, at most 128
override SCALE: f32;
override QUADS: u32 = HEAD_DIM / 4u;
override CONTEXT: u32; // positions that keys and values have room for
const KEYS = 64u; // at a time

@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [n, N_HEADS, QUADS]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // [n, N_HEADS, QUADS]

// Lower than every score.
const NONE: f32 = -3.0e38;

// What every lane has found of its keys, for 4 tokens.
var<workgroup> shares: array<vec4<f32>, 128>; // [ROW_LANES, TOKEN_QUADS]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let head = group.x;
    let row0 = head / (N_HEADS / N_KV_HEADS) * CONTEXT; // of the head's keys and values
    let token = 4u * TOKEN_QUADS * group.z;
    let n_keys = run.pos + min(token + 4u * TOKEN_QUADS, run.n);
    let lane = local % ROW_LANES;
    let own = token + 8u * (local / ROW_LANES);
    // Keys that own tokens see.
    let n_seen = run.pos + 1u + own + vec4(0u, 1u, 2u, 3u);
    // Of own tokens, in two quads: the largest score so far; sums of exp(score - top) of own keys, and of exp(score - top)
    // * value of all keys, in columns 4 * lane .. 4 * lane + 3 and 64 columns on.
    var top = mat2x4(vec4(NONE), vec4(NONE));
    var sum = mat2x4<f32>();
    var near = Dots();
    var far = Dots();
    for (var first = 0u; first < n_keys; first += KEYS) {
        let own_keys = first + lane + ROW_LANES * vec4(0u, 1u, 2u, 3u);
        var scores = score(row0 + min(own_keys, vec4(n_keys - 1u)), token, head, local);
        for (var i = 0u; i < 4u; i += 1u) {
            scores.first[i] = select(vec4(NONE), scores.first[i], vec4(own_keys[i]) < n_seen);
            scores.second[i] = select(vec4(NONE), scores.second[i], vec4(own_keys[i]) < n_seen + 4u);
        }
        let higher = highest(top, scores, local);
        let shrink = mat2x4(exp(top[0] - higher[0]), exp(top[1] - higher[1]));
        top = higher;
        sum = mat2x4(sum[0] * shrink[0], sum[1] * shrink[1]);
        for (var i = 0u; i < 4u; i += 1u) {
            scores.first[i] = exp(scores.first[i] - top[0]);
            scores.second[i] = exp(scores.second[i] - top[1]);
            sum += mat2x4(scores.first[i], scores.second[i]);
        }
        near = shrunk(near, shrink);
        put_weights(scores, 0u, local);
        near = add_values(near, first, 0u, n_keys, row0, local);
        if (QUADS > ROW_LANES) {
            far = shrunk(far, shrink);
            far = add_values(far, first, ROW_LANES, n_keys, row0, local);
        }
        if (first + TERMS < n_keys) {
            put_weights(scores, 2u, local);
            near = add_values(near, first + TERMS, 0u, n_keys, row0, local);
            if (QUADS > ROW_LANES) {
                far = add_values(far, first + TERMS, ROW_LANES, n_keys, row0, local);
            }
        }
    }
    sum = total(sum, local);
    write8(near, sum, own, head, lane);
    write8(far, sum, own, head, lane + ROW_LANES);
}

// Own keys with own tokens.
fn score(key: vec4<u32>, token: u32, head: u32, local: u32) -> Dots {
    let quarter = local / ROW_LANES;
    let part = local / TOKEN_QUADS;
    let four = local % TOKEN_QUADS;
    let query = min(token + 4u * four + vec4(0u, 1u, 2u, 3u), vec4(run.n - 1u)) * N_HEADS + head;
    let factor = SCALE * alpha(head);
    var dots = Dots();
    for (var quad = 0u; quad < QUADS; quad += TERMS / 4u) {
        put_rows(four_keys(key, quad + 2u * quarter), 8u * quarter, local % ROW_LANES);
        put_rows(four_keys(key, quad + 2u * quarter + 1u), 8u * quarter + 4u, local % ROW_LANES);
        put_tokens(factor * four_queries(query, quad + part), 4u * part, four);
        dots = add_products(dots, local);
    }
    return dots;
}

// 4 columns of 4 keys; 0 past the last.
fn four_keys(key: vec4<u32>, quad: u32) -> mat4x4<f32> {
    if (QUADS % 8u != 0u && quad >= QUADS) {
        return mat4x4<f32>();
    }
    let at = key * QUADS + quad;
    return mat4x4(key4(at.x), key4(at.y), key4(at.z), key4(at.w));
}

fn four_queries(query: vec4<u32>, quad: u32) -> mat4x4<f32> {
    if (QUADS % 8u != 0u && quad >= QUADS) {
        return mat4x4<f32>();
    }
    let at = query * QUADS + quad;
    return mat4x4(q[at.x], q[at.y], q[at.z], q[at.w]);
}

// The largest score of each own token that any lane has seen.
fn highest(top: mat2x4<f32>, scores: Dots, local: u32) -> mat2x4<f32> {
    let a = scores.first;
    let b = scores.second;
    share(mat2x4(max(max(a[0], a[1]), max(a[2], a[3])), max(max(b[0], b[1]), max(b[2], b[3]))), local);
    var higher = top;
    for (var i = 0u; i < ROW_LANES; i += 1u) {
        let found = shared_by(i, local);
        higher = mat2x4(max(higher[0], found[0]), max(higher[1], found[1]));
    }
    return higher;
}

fn total(own: mat2x4<f32>, local: u32) -> mat2x4<f32> {
    share(own, local);
    var sum = mat2x4<f32>();
    for (var i = 0u; i < ROW_LANES; i += 1u) {
        sum += shared_by(i, local);
    }
    return sum;
}

fn share(own: mat2x4<f32>, local: u32) {
    let at = local % ROW_LANES * TOKEN_QUADS + 2u * (local / ROW_LANES);
    shares[at] = own[0];
    shares[at + 1u] = own[1];
    workgroupBarrier();
}

// What a lane shared of the caller's tokens. Before it is shared anew, products are added, which takes barriers.
fn shared_by(lane: u32, local: u32) -> mat2x4<f32> {
    let at = lane * TOKEN_QUADS + 2u * (local / ROW_LANES);
    return mat2x4(shares[at], shares[at + 1u]);
}

fn shrunk(dots: Dots, by: mat2x4<f32>) -> Dots {
    let a = dots.first;
    let b = dots.second;
    return Dots(
        mat4x4(a[0] * by[0], a[1] * by[0], a[2] * by[0], a[3] * by[0]),
        mat4x4(b[0] * by[1], b[1] * by[1], b[2] * by[1], b[3] * by[1]));
}

// What two of an invocation's keys weigh for its tokens, as terms.
fn put_weights(weights: Dots, key: u32, local: u32) {
    for (var i = 0u; i < 2u; i += 1u) {
        let at = (local % ROW_LANES + i * ROW_LANES) * TOKEN_QUADS + 2u * (local / ROW_LANES);
        token_tile[at] = weights.first[key + i];
        token_tile[at + 1u] = weights.second[key + i];
    }
}

// Adds the products of 32 keys' values, 64 columns of them from a quad on, with what the keys weigh.
fn add_values(dots: Dots, first: u32, quad: u32, n_keys: u32, row0: u32, local: u32) -> Dots {
    for (var i = local; i < TERMS * ROW_LANES; i += WG) {
        let key = min(first + i / ROW_LANES, n_keys - 1u);
        let col = min(quad + i % ROW_LANES, QUADS - 1u);
        row_tile[i] = value4((row0 + key) * QUADS + col);
    }
    return add_products(dots, local);
}

fn write8(sums: Dots, weight: mat2x4<f32>, token: u32, head: u32, quad: u32) {
    if (quad >= QUADS) {
        return;
    }
    let first = transpose(sums.first);
    let second = transpose(sums.second);
    for (var i = 0u; i < 4u; i += 1u) {
        write(first[i] / weight[0][i], token + i, head, quad);
        write(second[i] / weight[1][i], token + 4u + i, head, quad);
    }
}

fn write(value: vec4<f32>, token: u32, head: u32, quad: u32) {
    if (token < run.n) {
        y[(token * N_HEADS + head) * QUADS + quad] = value;
    }
}
