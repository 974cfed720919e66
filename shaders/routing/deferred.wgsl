// Experts by the shares of the router's logits that lie behind x (tail/norm): every workgroup chooses for itself, and
// one tells the dispatches that follow.
@group(0) @binding(5) var<storage, read_write> routing: array<f32>; // [1, 2 * TOP_K]

var<workgroup> logits: array<f32, N_EXPERTS>;

// Every invocation of the workgroup must call it; `scale` is the norm's.
fn find_experts(scale: f32, local: u32) {
    for (var first = 0u; first < N_EXPERTS; first += 4u * (WG / LANES)) {
        let experts = first + 4u * (local / LANES) + vec4(0u, 1u, 2u, 3u);
        var sums = vec4<f32>();
        if (experts.x < N_EXPERTS) {
            let at = COLS + PARTIALS * (1u + min(experts, vec4(N_EXPERTS - 1u)));
            for (var i = local % LANES; i < PARTIALS; i += LANES) {
                sums += vec4(number(at.x + i), number(at.y + i), number(at.z + i), number(at.w + i));
            }
        }
        sums = scale * reduce_sums(sums, local);
        for (var i = local % LANES; i < 4u; i += LANES) {
            if (experts[i] < N_EXPERTS) {
                logits[experts[i]] = sums[i];
            }
        }
    }
    workgroupBarrier();
    if (local == 0u) {
        choose(0u);
    }
    workgroupBarrier();
}

fn chosen(i: u32) -> u32 {
    return u32(choice[i]);
}

fn tell_experts(local: u32) {
    for (var i = local; i < CHOICE; i += WG) {
        routing[i] = choice[i];
    }
}
