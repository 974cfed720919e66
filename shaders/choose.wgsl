// The choice of experts for a token whose logits begin at `at`: TOP_K ids, then their weights. One invocation does it:
// the experts are few, and a choice waits for the one before it.
override N_EXPERTS: u32;
override TOP_K: u32;
override RENORMALISE: bool;
override CHOICE: u32 = 2u * TOP_K;

var<workgroup> choice: array<f32, CHOICE>;

fn choose(at: u32) {
    prepare(at);
    var sum = 0.0;
    for (var i = 0u; i < TOP_K; i += 1u) {
        var best = 0u;
        var best_key = -3e38;
        for (var id = 0u; id < N_EXPERTS; id += 1u) {
            let key = score(at + id) + bias(id);
            if (key > best_key && !is_chosen(i, f32(id))) {
                best = id;
                best_key = key;
            }
        }
        let weight = score(at + best);
        choice[i] = f32(best);
        choice[TOP_K + i] = weight;
        sum += weight;
    }
    if (RENORMALISE) {
        for (var i = TOP_K; i < CHOICE; i += 1u) {
            choice[i] /= max(sum, 1e-6);
        }
    }
}

fn is_chosen(n: u32, id: f32) -> bool {
    for (var i = 0u; i < n; i += 1u) {
        if (choice[i] == id) {
            return true;
        }
    }
    return false;
}
