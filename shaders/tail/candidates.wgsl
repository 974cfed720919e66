// Begins the draw: of the logits that a workgroup makes, the best and the weight of all, so that the sampler can skip
// those that cannot count.
override BLOCK: u32 = 4u * WG / LANES;
override SLOTS: u32; // invocations that have results: of LANES, the first 4

@group(0) @binding(7) var<storage, read> seen: array<u32>; // [VOCAB] bits: in the context already
@group(0) @binding(8) var<storage, read_write> blocks: array<Block>; // [VOCAB / BLOCK, rounded up]

var<workgroup> parts: array<Block, SLOTS>;

// Every invocation of the workgroup must call it, with the results that it has.
fn tail(values: vec4<f32>, cols: vec4<u32>, group: u32, local: u32) {
    let lane = local % LANES;
    if (lane < 4u) {
        var keys = vec4<u32>();
        var own = Block(key_of(-3.0e38), VOCAB, 0.0);
        for (var i = lane; i < 4u && cols[i] < VOCAB; i += LANES) {
            keys[i] = penalised_key(values[i], cols[i]);
            let one = Block(keys[i], cols[i], 0.0);
            if (is_better(one, own)) {
                own = one;
            }
        }
        for (var i = lane; i < 4u && cols[i] < VOCAB && sampling.temperature > 0.0; i += LANES) {
            own.weight += likelihood(keys[i], own.key);
        }
        parts[local / LANES * min(LANES, 4u) + lane] = own;
    }
    workgroupBarrier();
    if (local == 0u && group * BLOCK < VOCAB) {
        var best = parts[0];
        for (var slot = 1u; slot < SLOTS; slot += 1u) {
            if (is_better(parts[slot], best)) {
                best = parts[slot];
            }
        }
        best.weight = 0.0;
        for (var slot = 0u; slot < SLOTS && sampling.temperature > 0.0; slot += 1u) {
            best.weight += parts[slot].weight * likelihood(parts[slot].key, best.key);
        }
        blocks[group] = best;
    }
}
