// A workgroup sees all keys of its heads.
fn span_of(chunk: u32, n_keys: u32) -> vec2<u32> {
    return vec2(0u, n_keys);
}

fn close(sums: Sums, head: u32, chunk: u32, n_keys: u32, query: u32, local: u32) {
    if (local < QUADS) {
        y[query * QUADS + local] = sums.acc / sums.weight;
    }
}
