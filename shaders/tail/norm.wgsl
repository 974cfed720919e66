// Begins the RMSNorm of the results: h = gain * y, and behind it what only all of y decides, in a share per workgroup
// that the reader adds up (norm/deferred): the sum of squares, and the router's logits. A dispatch ends between the
// two, so no workgroup waits for another.
override TAIL_GROUPS: u32; // workgroups
override SLOTS: u32; // invocations of a workgroup that have results: of LANES, the first 4
override SHARES: u32 = SLOTS * (N_LOGITS + 1u);

@group(0) @binding(7) var<storage, read_write> h: array<f32>; // [WIDTH], then [1 + N_LOGITS, TAIL_GROUPS]

var<workgroup> shares: array<f32, SHARES>;

// Every invocation of the workgroup must call it, with the results that it has and 0 for others.
fn tail(values: vec4<f32>, cols: vec4<u32>, group: u32, local: u32) {
    let lane = local % LANES;
    var gained = vec4<f32>();
    for (var i = lane; i < 4u; i += LANES) {
        if (cols[i] < WIDTH) {
            gained[i] = values[i] * gain(cols[i]);
            h[cols[i]] = gained[i];
        }
    }
    if (lane < 4u) {
        let slot = local / LANES * min(LANES, 4u) + lane;
        shares[slot] = dot(values, values);
        for (var expert = 0u; expert < N_LOGITS; expert += 1u) {
            var share = 0.0;
            for (var i = lane; i < 4u; i += LANES) {
                share += gained[i] * router(expert, min(cols[i], WIDTH - 1u));
            }
            shares[(expert + 1u) * SLOTS + slot] = share;
        }
    }
    workgroupBarrier();
    for (var i = local; i < N_LOGITS + 1u && group < TAIL_GROUPS; i += WG) {
        var sum = 0.0;
        for (var slot = 0u; slot < SLOTS; slot += 1u) {
            sum += shares[i * SLOTS + slot];
        }
        h[WIDTH + i * TAIL_GROUPS + group] = sum;
    }
}
