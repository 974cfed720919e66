// Sums over LANES neighbouring invocations, a power of two that divides WG, through workgroup memory.
override WG: u32;
override LANES: u32;

var<workgroup> addends: array<f32, WG>;

// Every invocation of the workgroup must call it.
fn reduce_sum(value: f32, local: u32) -> f32 {
    workgroupBarrier();
    addends[local] = value;
    for (var reach = LANES / 2u; reach > 0u; reach /= 2u) {
        workgroupBarrier();
        if (local % LANES < reach) {
            addends[local] += addends[local + reach];
        }
    }
    workgroupBarrier();
    return addends[local - local % LANES];
}
