// Draws the next token. The twin of kernels/src/sampler.rs, step by step; one workgroup of 256.
//
// Logits become order-preserving integer keys and probabilities become fixed-point masses (2^30 is 1), so
// that every threshold and the draw itself are exact whatever the order of summation. Blocks whose best key
// lies below a threshold are never read.
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
    let last = run.pos + run.n - 1u; // the last token's position
    let best = find_best(local);
    var drawn = best.y;
    if (sampling.temperature > 0.0) {
        let top = best.x;
        let floor = min(lower_bound(top, local), top);
        weigh(top, floor, local);
        let cut = min(threshold(top, floor, local), top);
        let total = sum_u32(kept_mass(cut, local, 256u, BLOCKS), local);
        draw(cut, high_product(random_bits(last), total), local);
        drawn = workgroupUniformLoad(&winner);
    }
    if (local == 0u) {
        tokens[0] = drawn;
        tokens[DRAWS + last % MOST_STEPS] = drawn;
        seen[drawn / 32u] |= 1u << (drawn % 32u);
    }
}

// The largest key and the lowest index that has it.
fn find_best(local: u32) -> vec2<u32> {
    var best = Block();
    for (var b = local; b < BLOCKS; b += 256u) {
        if (is_better(blocks[b], best)) {
            best = blocks[b];
        }
    }
    bests[local] = best;
    for (var reach = 128u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (local < reach && is_better(bests[local + reach], best)) {
            best = bests[local + reach];
            bests[local] = best;
        }
    }
    let found = workgroupUniformLoad(&bests[0]);
    return vec2(found.key, found.index);
}

// A key that no threshold lies below, found without looking at single tokens: as many blocks as top-k keeps tokens
// reach it. Where top-p does not ask what the others weigh, min-p's threshold is one as well.
fn lower_bound(top: u32, local: u32) -> u32 {
    var bound = 0u;
    if (sampling.top_k > 0u && sampling.top_k < BLOCKS) {
        bound = largest_key(0u, sampling.top_k, BESTS, 16u, local);
    }
    if (sampling.top_p >= 1.0) {
        bound = max(bound, min_p_key(top));
    }
    return bound;
}

fn min_p_key(top: u32) -> u32 {
    if (sampling.min_p <= 0.0) {
        return 0u;
    }
    return key_of(value_of(top) + sampling.temperature * log(sampling.min_p));
}

// Fills `keys` and `masses` of the blocks that reach `floor`: exp((l - top) / T) / sum in units of 2^-30.
fn weigh(top: u32, floor: u32, local: u32) {
    var sum = 0.0;
    for (var b = local; b < BLOCKS; b += 256u) {
        sum += blocks[b].weight * likelihood(blocks[b].key, top);
    }
    sum = sum_f32(sum, local);
    for (var b = local; b < BLOCKS; b += 256u) {
        for (var i = b * BLOCK; i < end_of(b, floor); i += 1u) {
            keys[i] = penalised_key(logits[i], i);
            let p = likelihood(keys[i], top) / sum;
            masses[i] = u32(min(p, 1.0) * 1073741824.0);
        }
    }
    storageBarrier();
    workgroupBarrier();
}

// The smallest key that top-k, top-p and min-p all keep.
fn threshold(top: u32, floor: u32, local: u32) -> u32 {
    var cut = floor;
    if (sampling.top_k > 0u && sampling.top_k < VOCAB) {
        cut = max(cut, largest_key(cut, sampling.top_k, TOKENS, 0u, local));
    }
    if (sampling.top_p < 1.0) {
        let total = sum_u32(kept_mass(cut, local, 256u, BLOCKS), local);
        let goal = clamp(u32(f32(total) * sampling.top_p), 1u, total);
        cut = max(cut, largest_key(cut, goal, MASS, 0u, local));
    }
    return max(cut, min_p_key(top));
}

// The first index whose cumulative kept mass exceeds r goes to `winner`. Each invocation has a run of
// neighbouring blocks.
fn draw(cut: u32, r: u32, local: u32) {
    let length = (BLOCKS + 255u) / 256u;
    let end = min((local + 1u) * length, BLOCKS);
    let own = kept_mass(cut, local * length, 1u, end);
    workgroupBarrier();
    sums[local] = own;
    workgroupBarrier();
    var before = 0u;
    for (var i = 0u; i < local; i += 1u) {
        before += sums[i];
    }
    if (before <= r && r < before + own) {
        for (var b = local * length; b < end && before <= r; b += 1u) {
            for (var i = b * BLOCK; i < end_of(b, cut) && before <= r; i += 1u) {
                before += select(0u, masses[i], keys[i] >= cut);
                if (before > r) {
                    winner = i;
                }
            }
        }
    }
}
