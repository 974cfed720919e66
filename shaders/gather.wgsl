// Groups a chunk's tokens by expert: counts, prefix sums, places. One workgroup; each invocation looks after
// its own experts, so that the order is the tokens' and no sum depends on a race.
override WG: u32;

@group(0) @binding(1) var<storage, read> routing: array<f32>; // [n, 2 * TOP_K]
@group(0) @binding(2) var<storage, read_write> groups: array<u32>; // see experts.wgsl

var<workgroup> counts: array<u32, N_EXPERTS>;

fn expert_of(place: u32) -> u32 {
    return u32(routing[place / TOP_K * 2u * TOP_K + place % TOP_K]);
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) local: u32) {
    let n = run.n * TOP_K;
    for (var expert = local; expert < N_EXPERTS; expert += WG) {
        var count = 0u;
        for (var place = 0u; place < n; place += 1u) {
            count += u32(expert_of(place) == expert);
        }
        counts[expert] = count;
    }
    workgroupBarrier();
    for (var expert = local; expert < N_EXPERTS; expert += WG) {
        list(expert, n);
    }
    if (local == 0u) {
        close(n);
    }
}

// Writes an expert's first entry, its places and its blocks.
fn list(expert: u32, n: u32) {
    var first = 0u;
    var block = 0u;
    for (var before = 0u; before < expert; before += 1u) {
        first += counts[before];
        block += (counts[before] + BLOCK - 1u) / BLOCK;
    }
    groups[expert] = first;
    for (var i = 0u; i < counts[expert]; i += BLOCK) {
        groups[BLOCKS + 2u * block] = expert;
        groups[BLOCKS + 2u * block + 1u] = first + i;
        block += 1u;
    }
    for (var place = 0u; place < n; place += 1u) {
        if (expert_of(place) == expert) {
            groups[ORDER + first] = place;
            first += 1u;
        }
    }
}

// Marks the blocks of the grid that are left over.
fn close(n: u32) {
    var blocks = 0u;
    for (var expert = 0u; expert < N_EXPERTS; expert += 1u) {
        blocks += (counts[expert] + BLOCK - 1u) / BLOCK;
    }
    groups[N_EXPERTS] = n;
    let end = (n + BLOCK - 1u) / BLOCK + min(N_EXPERTS, n);
    for (; blocks < end; blocks += 1u) {
        groups[BLOCKS + 2u * blocks] = N_EXPERTS;
    }
}
