// Reads a buffer once, in the order that memory likes: what any kernel can read at, at most.
override WG: u32;
override LEN: u32;

// Vectors that an invocation reads; a workgroup's lie side by side.
const EACH = 16u;

@group(0) @binding(1) var<storage, read> words: array<vec4<u32>>; // [LEN]
@group(0) @binding(2) var<storage, read_write> sums: array<u32>; // [workgroups, WG]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let group = flat_group(id, count);
    var sum = vec4<u32>();
    for (var i = 0u; i < EACH; i++) {
        let at = (group * EACH + i) * WG + local;
        if (at < LEN) {
            sum += words[at];
        }
    }
    // The sum is written so that no compiler leaves the reading out.
    let at = group * WG + local;
    if (at < arrayLength(&sums)) {
        sums[at] = sum.x + sum.y + sum.z + sum.w;
    }
}
