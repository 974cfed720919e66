// The sampler's tools: its buffers, keys, sums over the workgroup, selection by radix, random bits.

// Mirrors `Sampling` in engine/src/sampler.rs.
struct Sampling {
    temperature: f32,
    top_k: u32,
    top_p: f32,
    min_p: f32,
    repetition_penalty: f32,
    seed: u32,
}

override VOCAB: u32;

@group(0) @binding(1) var<storage, read> logits: array<f32>; // [VOCAB]
@group(0) @binding(2) var<storage, read> sampling: Sampling;
@group(0) @binding(3) var<storage, read_write> seen: array<u32>; // [VOCAB] bits: in the context already
@group(0) @binding(4) var<storage, read_write> keys: array<u32>; // [VOCAB]
@group(0) @binding(5) var<storage, read_write> masses: array<u32>; // [VOCAB]
@group(0) @binding(6) var<storage, read_write> tokens: array<u32>; // [chunk]; the draw goes to the first

var<workgroup> bests: array<vec2<u32>, 256>;
var<workgroup> sums: array<u32, 256>;
var<workgroup> histogram: array<atomic<u32>, 256>;
var<workgroup> chosen: vec2<u32>;
var<workgroup> winner: u32;

// An integer that is larger where the float is.
fn key_of(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    return bits ^ select(0x80000000u, 0xffffffffu, bits >= 0x80000000u);
}

fn value_of(key: u32) -> f32 {
    return bitcast<f32>(key ^ select(0xffffffffu, 0x80000000u, key >= 0x80000000u));
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

// Mass of the indices first, first + stride, ... below end whose key is at least `cut`.
fn kept_mass(cut: u32, first: u32, stride: u32, end: u32) -> u32 {
    var mass = 0u;
    for (var i = first; i < end; i += stride) {
        mass += select(0u, masses[i], keys[i] >= cut);
    }
    return mass;
}

// The largest key t such that the indices with a key of at least t, none below `cut`, number at least
// `goal`, or weigh that much. Radix selection: four rounds of 8 bits.
fn largest_key(cut: u32, goal: u32, by_mass: bool, local: u32) -> u32 {
    var found = vec2(0u, goal); // leading bits of t, what is missing below them
    for (var shift = 24i; shift >= 0i; shift -= 8i) {
        let low = u32(shift);
        atomicStore(&histogram[local], 0u);
        workgroupBarrier();
        for (var i = local; i < VOCAB; i += 256u) {
            let key = keys[i];
            // Two shifts, because one of 32 bits is not defined.
            let same = ((key >> low) >> 8u) == ((found.x >> low) >> 8u);
            if (same && key >= cut) {
                atomicAdd(&histogram[(key >> low) & 255u], select(1u, masses[i], by_mass));
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
