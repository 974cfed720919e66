// A head's keys are shared out among CHUNKS workgroups, as evenly as TILE and CHUNK allow. Each leaves its sums, and
// the one that leaves the last of them adds them up; no workgroup waits.
//
// WGSL's atomics give no order between two places in memory, and its barriers none between workgroups. So nothing here
// rests on more than the order of what happens at one place, and on a number existing before what is computed from it:
// a word is put by an exchange, it counts once that has answered, and what all exchanges answered makes the number that
// is added to the head's count. Whoever brings the count to its end takes the words by exchanges, which leaves all empty
// for the next dispatch.
override CHUNKS: u32; // workgroups to a head's keys at most
override CHUNK: u32; // keys of one at least, but for the last; a multiple of TILE
override WORDS: u32 = HEAD_DIM + 2u; // of a workgroup: weighted values, their weight, the largest score

// [N_HEADS] counts, then [N_HEADS, CHUNKS, WORDS], all 0 between dispatches
@group(0) @binding(9) var<storage, read_write> shared_sums: array<atomic<u32>>;

var<workgroup> landed: array<u32, WG>;
var<workgroup> is_last: u32;
var<workgroup> brief: array<vec2<f32>, CHUNKS>; // weight and top of each

// Keys of a workgroup.
fn chunk_of(n_keys: u32) -> u32 {
    return max(CHUNK, (n_keys + CHUNKS * TILE - 1u) / (CHUNKS * TILE) * TILE);
}

fn span_of(chunk: u32, n_keys: u32) -> vec2<u32> {
    let first = chunk * chunk_of(n_keys);
    return vec2(first, min(first + chunk_of(n_keys), n_keys));
}

// Every invocation of a workgroup that has keys must call it.
fn close(sums: Sums, head: u32, chunk: u32, n_keys: u32, query: u32, local: u32) {
    let n_chunks = (n_keys + chunk_of(n_keys) - 1u) / chunk_of(n_keys);
    if (n_chunks == 1u) {
        if (local < QUADS) {
            y[query * QUADS + local] = sums.acc / sums.weight;
        }
        return;
    }
    leave(sums, sums_at(head, chunk), local);
    storageBarrier();
    workgroupBarrier();
    if (local == 0u) {
        var n = 0u;
        for (var i = 0u; i < WG; i += 1u) {
            n += landed[i];
        }
        is_last = u32(atomicAdd(&shared_sums[head], n) + n == n_chunks * WORDS);
    }
    if (workgroupUniformLoad(&is_last) == 1u) {
        merge(head, query, n_chunks, local);
    }
}

fn sums_at(head: u32, chunk: u32) -> u32 {
    return N_HEADS + (head * CHUNKS + chunk) * WORDS;
}

fn leave(sums: Sums, at: u32, local: u32) {
    var n = 0u;
    if (local < QUADS) {
        for (var i = 0u; i < 4u; i += 1u) {
            n += put(at + 4u * local + i, sums.acc[i]);
        }
    }
    if (local == 0u) {
        n += put(at + HEAD_DIM, sums.weight) + put(at + HEAD_DIM + 1u, sums.top);
    }
    landed[local] = n;
}

// 1, once the word is where others find it. The place was empty.
fn put(at: u32, value: f32) -> u32 {
    return u32(atomicExchange(&shared_sums[at], bitcast<u32>(value)) == 0u);
}

fn take(at: u32) -> f32 {
    return bitcast<f32>(atomicExchange(&shared_sums[at], 0u));
}

fn merge(head: u32, query: u32, n_chunks: u32, local: u32) {
    if (local == 0u) {
        atomicStore(&shared_sums[head], 0u);
    }
    for (var chunk = local; chunk < n_chunks; chunk += WG) {
        let at = sums_at(head, chunk) + HEAD_DIM;
        brief[chunk] = vec2(take(at), take(at + 1u));
    }
    workgroupBarrier();
    var top = NONE;
    for (var chunk = 0u; chunk < n_chunks; chunk += 1u) {
        top = max(top, brief[chunk].y);
    }
    var acc = vec4<f32>();
    var weight = 0.0;
    for (var chunk = 0u; chunk < n_chunks && local < QUADS; chunk += 1u) {
        let share = exp(brief[chunk].y - top);
        let at = sums_at(head, chunk) + 4u * local;
        acc += share * vec4(take(at), take(at + 1u), take(at + 2u), take(at + 3u));
        weight += share * brief[chunk].x;
    }
    if (local < QUADS) {
        y[query * QUADS + local] = acc / weight;
    }
}
