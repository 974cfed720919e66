// Sums over LANES neighbouring invocations, a power of two that divides WG, through workgroup memory.
override WG: u32;
override LANES: u32;

var<workgroup> addends: array<vec4<f32>, WG>;

// Every invocation of the workgroup must call it.
fn reduce_sums(values: vec4<f32>, local: u32) -> vec4<f32> {
    workgroupBarrier();
    addends[local] = values;
    for (var reach = LANES / 2u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (local % LANES < reach) {
            addends[local] += addends[local + reach];
        }
    }
    workgroupBarrier();
    return addends[local - local % LANES];
}
