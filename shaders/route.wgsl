// Which experts a token goes to: top_k ids, then their weights. One invocation to a token: the experts are
// few, and a choice waits for the one before it.
override N_EXPERTS: u32;
override TOP_K: u32;
override RENORMALISE: bool;

@group(0) @binding(1) var<storage, read> logits: array<f32>; // [n, N_EXPERTS]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [n, 2 * TOP_K]

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) group: vec3<u32>) {
    let at = group.z * N_EXPERTS;
    let to = group.z * 2u * TOP_K;
    prepare(at);
    var sum = 0.0;
    for (var i = 0u; i < TOP_K; i += 1u) {
        var best = 0u;
        var best_key = -3e38;
        for (var id = 0u; id < N_EXPERTS; id += 1u) {
            let key = score(at + id) + bias(id);
            if (key > best_key && !is_chosen(to, i, f32(id))) {
                best = id;
                best_key = key;
            }
        }
        let weight = score(at + best);
        y[to + i] = f32(best);
        y[to + TOP_K + i] = weight;
        sum += weight;
    }
    if (RENORMALISE) {
        for (var i = 0u; i < TOP_K; i += 1u) {
            y[to + TOP_K + i] /= max(sum, 1e-6);
        }
    }
}

fn is_chosen(to: u32, n: u32, id: f32) -> bool {
    for (var i = 0u; i < n; i += 1u) {
        if (y[to + i] == id) {
            return true;
        }
    }
    return false;
}
