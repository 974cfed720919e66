// Draws the next token. The twin of engine/src/sampler.rs, step by step; one workgroup of 256.
//
// Logits become order-preserving integer keys and probabilities become fixed-point masses (2^30 is 1), so
// that every threshold and the draw itself are exact whatever the order of summation.
@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
    let best = find_best(local);
    var drawn = best.y;
    if (sampling.temperature > 0.0) {
        let top = value_of(best.x);
        weigh(top, local);
        let cut = min(threshold(top, local), best.x);
        let total = sum_u32(kept_mass(cut, local, 256u, VOCAB), local);
        draw(cut, high_product(random_bits(run.pos + run.n - 1u), total), local);
        drawn = workgroupUniformLoad(&winner);
    }
    if (local == 0u) {
        tokens[0] = drawn;
        seen[drawn / 32u] |= 1u << (drawn % 32u);
    }
}

// Fills `keys`; the largest key and the lowest index that has it.
fn find_best(local: u32) -> vec2<u32> {
    var best = vec2(0u, 0u);
    for (var i = local; i < VOCAB; i += 256u) {
        let key = key_of(penalised(i));
        keys[i] = key;
        if (key > best.x) {
            best = vec2(key, i);
        }
    }
    bests[local] = best;
    for (var reach = 128u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (local < reach) {
            let other = bests[local + reach];
            if (other.x > best.x || (other.x == best.x && other.y < best.y)) {
                best = other;
                bests[local] = other;
            }
        }
    }
    return workgroupUniformLoad(&bests[0]);
}

// A logit after the repetition penalty. What is not a number counts as the smallest one.
fn penalised(i: u32) -> f32 {
    let bits = bitcast<u32>(logits[i]);
    var l = logits[i];
    if ((bits & 0x7f800000u) == 0x7f800000u) {
        l = select(-3.0e38, 3.0e38, bits == 0x7f800000u);
    }
    if (((seen[i / 32u] >> (i % 32u)) & 1u) == 1u) {
        l = select(l * sampling.repetition_penalty, l / sampling.repetition_penalty, l > 0.0);
    }
    return clamp(l, -3.0e38, 3.0e38);
}

// Fills `masses`: exp((l - top) / T) / sum in units of 2^-30.
fn weigh(top: f32, local: u32) {
    var sum = 0.0;
    for (var i = local; i < VOCAB; i += 256u) {
        sum += exp((value_of(keys[i]) - top) / sampling.temperature);
    }
    sum = sum_f32(sum, local);
    for (var i = local; i < VOCAB; i += 256u) {
        let p = exp((value_of(keys[i]) - top) / sampling.temperature) / sum;
        masses[i] = u32(min(p, 1.0) * 1073741824.0);
    }
    storageBarrier();
    workgroupBarrier();
}

// The smallest key that top-k, top-p and min-p all keep.
fn threshold(top: f32, local: u32) -> u32 {
    var cut = 0u;
    if (sampling.top_k > 0u && sampling.top_k < VOCAB) {
        cut = largest_key(0u, sampling.top_k, false, local);
    }
    if (sampling.top_p < 1.0) {
        let total = sum_u32(kept_mass(cut, local, 256u, VOCAB), local);
        let goal = clamp(u32(f32(total) * sampling.top_p), 1u, total);
        cut = max(cut, largest_key(cut, goal, true, local));
    }
    if (sampling.min_p > 0.0) {
        cut = max(cut, key_of(top + sampling.temperature * log(sampling.min_p)));
    }
    return cut;
}

// The first index whose cumulative kept mass exceeds r goes to `winner`. Each invocation has a run of
// neighbouring indices.
fn draw(cut: u32, r: u32, local: u32) {
    let length = (VOCAB + 255u) / 256u;
    let end = min((local + 1u) * length, VOCAB);
    let own = kept_mass(cut, local * length, 1u, end);
    workgroupBarrier();
    sums[local] = own;
    workgroupBarrier();
    var before = 0u;
    for (var i = 0u; i < local; i += 1u) {
        before += sums[i];
    }
    if (before <= r && r < before + own) {
        var i = local * length;
        for (; i < end - 1u; i += 1u) {
            before += select(0u, masses[i], keys[i] >= cut);
            if (before > r) {
                break;
            }
        }
        winner = i;
    }
}
