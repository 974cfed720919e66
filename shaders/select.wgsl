// The sampler's tools: its buffers, keys, sums over the workgroup, selection by radix, random bits.

override BLOCK: u32;
override BLOCKS: u32 = (VOCAB + BLOCK - 1u) / BLOCK;
override DRAWS: u32; // ids before the draws
override MOST_STEPS: u32;

@group(0) @binding(1) var<storage, read> logits: array<f32>; // [VOCAB]
@group(0) @binding(2) var<storage, read_write> keys: array<u32>; // [VOCAB]
@group(0) @binding(3) var<storage, read_write> masses: array<u32>; // [VOCAB]
@group(0) @binding(4) var<storage, read_write> tokens: array<u32>; // [DRAWS + MOST_STEPS]; the first is the next step's
@group(0) @binding(7) var<storage, read_write> seen: array<u32>; // [VOCAB] bits: in the context already
@group(0) @binding(8) var<storage, read> blocks: array<Block>; // [BLOCKS]

// What is counted in a selection.
const BESTS = 0u; // blocks, by their best key
const TOKENS = 1u;
const MASS = 2u;

var<workgroup> bests: array<Block, 256>;
var<workgroup> sums: array<u32, 256>;
var<workgroup> histogram: array<atomic<u32>, 256>;
var<workgroup> chosen: vec2<u32>;
var<workgroup> winner: u32;

// Where the indices of a block end; at their beginning, where none can have a key of `bound` or more.
fn end_of(block: u32, bound: u32) -> u32 {
    return select(0u, min((block + 1u) * BLOCK, VOCAB), blocks[block].key >= bound);
}

// Sums over the workgroup.
fn sum_u32(value: u32, local: u32) -> u32 {
    workgroupBarrier();
    sums[local] = value;
    for (var reach = 128u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (local < reach) {
            sums[local] += sums[local + reach];
        }
    }
    return workgroupUniformLoad(&sums[0]);
}

fn sum_f32(value: f32, local: u32) -> f32 {
    workgroupBarrier();
    sums[local] = bitcast<u32>(value);
    for (var reach = 128u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (local < reach) {
            sums[local] = bitcast<u32>(bitcast<f32>(sums[local]) + bitcast<f32>(sums[local + reach]));
        }
    }
    return bitcast<f32>(workgroupUniformLoad(&sums[0]));
}

// Mass of the indices whose key is at least `cut`, in the blocks first, first + stride, ... below end.
fn kept_mass(cut: u32, first: u32, stride: u32, end: u32) -> u32 {
    var mass = 0u;
    for (var b = first; b < end; b += stride) {
        for (var i = b * BLOCK; i < end_of(b, cut); i += 1u) {
            mass += select(0u, masses[i], keys[i] >= cut);
        }
    }
    return mass;
}

// The largest key t such that what has a key of at least t, and none below `cut`, numbers at least `goal`, or weighs
// that much; its bits below `lowest` are left 0. Radix selection: rounds of 8 bits.
fn largest_key(cut: u32, goal: u32, what: u32, lowest: u32, local: u32) -> u32 {
    var found = vec2(0u, goal); // leading bits of t, what is missing below them
    for (var low = 32u; low > lowest;) {
        low -= 8u;
        atomicStore(&histogram[local], 0u);
        workgroupBarrier();
        let bound = max(cut, found.x);
        for (var b = local; b < BLOCKS; b += 256u) {
            if (what == BESTS) {
                count(blocks[b].key, bound, found.x, low, 1u);
            } else {
                for (var i = b * BLOCK; i < end_of(b, bound); i += 1u) {
                    count(keys[i], bound, found.x, low, select(1u, masses[i], what == MASS));
                }
            }
        }
        workgroupBarrier();
        if (local == 0u) {
            var bin = 255u;
            var missing = found.y;
            loop {
                let here = atomicLoad(&histogram[bin]);
                if (here >= missing || bin == 0u) {
                    break;
                }
                missing -= here;
                bin -= 1u;
            }
            chosen = vec2(found.x | (bin << low), missing);
        }
        found = workgroupUniformLoad(&chosen);
    }
    return found.x;
}

fn count(key: u32, bound: u32, leading: u32, low: u32, weight: u32) {
    // Two shifts, because one of 32 bits is not defined.
    if (key >= bound && ((key >> low) >> 8u) == ((leading >> low) >> 8u)) {
        atomicAdd(&histogram[(key >> low) & 255u], weight);
    }
}

// 32 random bits of a seed and a position: one step of PCG (O'Neill 2014; Jarzynski & Olano 2020).
fn random_bits(pos: u32) -> u32 {
    let s = (sampling.seed ^ (pos * 0x9e3779b9u)) * 747796405u + 2891336453u;
    let w = ((s >> ((s >> 28u) + 4u)) ^ s) * 277803737u;
    return (w >> 22u) ^ w;
}

// The upper 32 bits of a * b.
fn high_product(a: u32, b: u32) -> u32 {
    let al = a & 0xffffu;
    let ah = a >> 16u;
    let bl = b & 0xffffu;
    let bh = b >> 16u;
    let low = al * bl;
    let mid = ah * bl + (low >> 16u);
    let mid2 = al * bh + (mid & 0xffffu);
    return ah * bh + (mid >> 16u) + (mid2 >> 16u);
}
