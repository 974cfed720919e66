// What the draw makes of logits: the repetition penalty, keys that order as they do, and for each block of them, the
// rows of a workgroup of the head, the best and the weight of all.

// Mirrors `Sampling` in kernels/src/sampler.rs.
struct Sampling {
    temperature: f32,
    top_k: u32,
    top_p: f32,
    min_p: f32,
    repetition_penalty: f32,
    seed: u32,
}

struct Block {
    key: u32, // the largest
    index: u32, // of the first that has it
    weight: f32, // sum of the likelihoods, the best one's being 1; unless greedy
}

override VOCAB: u32;

@group(0) @binding(6) var<storage, read> sampling: Sampling;

// An integer that is larger where the float is.
fn key_of(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    return bits ^ select(0x80000000u, 0xffffffffu, bits >= 0x80000000u);
}

fn value_of(key: u32) -> f32 {
    return bitcast<f32>(key ^ select(0xffffffffu, 0x80000000u, key >= 0x80000000u));
}

// The key of a token's logit after the penalty. What is not a number counts as the smallest one.
fn penalised_key(logit: f32, token: u32) -> u32 {
    let bits = bitcast<u32>(logit);
    var l = logit;
    if ((bits & 0x7f800000u) == 0x7f800000u) {
        l = select(-3.0e38, 3.0e38, bits == 0x7f800000u);
    }
    if (((seen[token / 32u] >> (token % 32u)) & 1u) == 1u) {
        l = select(l * sampling.repetition_penalty, l / sampling.repetition_penalty, l > 0.0);
    }
    return key_of(clamp(l, -3.0e38, 3.0e38));
}

// exp((l - top) / T)
fn likelihood(key: u32, top: u32) -> f32 {
    return exp((value_of(key) - value_of(top)) / sampling.temperature);
}

fn is_better(a: Block, b: Block) -> bool {
    return a.key > b.key || (a.key == b.key && a.index < b.index);
}
