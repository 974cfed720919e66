// Sums over LANES neighbouring invocations through subgroups of at least SUBGROUP invocations; workgroup
// memory joins them where LANES is larger. Neighbours in a one-dimensional workgroup are neighbours in a
// subgroup on every driver known.
override WG: u32;
override LANES: u32;
override SUBGROUP: u32;

var<workgroup> addends: array<f32, WG>;

// Every invocation of the workgroup must call it.
fn reduce_sum(value: f32, local: u32) -> f32 {
    var sum = value;
    for (var reach = 1u; reach < min(LANES, SUBGROUP); reach *= 2u) {
        sum += subgroupShuffleXor(sum, reach);
    }
    if (LANES <= SUBGROUP) {
        return sum;
    }
    workgroupBarrier();
    addends[local] = sum;
    workgroupBarrier();
    let first = local - local % LANES;
    var total = 0.0;
    for (var i = 0u; i < LANES; i += SUBGROUP) {
        total += addends[first + i];
    }
    return total;
}
