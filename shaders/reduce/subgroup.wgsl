// Sums over LANES neighbouring invocations through subgroups of at least SUBGROUP invocations; workgroup
// memory joins them where LANES is larger. Neighbours in a one-dimensional workgroup are neighbours in a
// subgroup on every driver known.
override WG: u32;
override LANES: u32;
override SUBGROUP: u32;

var<workgroup> addends: array<vec4<f32>, WG>;

// Every invocation of the workgroup must call it.
fn reduce_sums(values: vec4<f32>, local: u32) -> vec4<f32> {
    var sums = values;
    for (var reach = 1u; reach < min(LANES, SUBGROUP); reach *= 2u) {
        sums += subgroupShuffleXor(sums, reach);
    }
    if (LANES <= SUBGROUP) {
        return sums;
    }
    workgroupBarrier();
    addends[local] = sums;
    workgroupBarrier();
    let first = local - local % LANES;
    var totals = vec4<f32>();
    for (var i = 0u; i < LANES; i += SUBGROUP) {
        totals += addends[first + i];
    }
    return totals;
}
