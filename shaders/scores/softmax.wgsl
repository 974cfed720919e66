var<private> largest: f32;
var<private> total: f32;

fn prepare(at: u32) {
    largest = logits[at];
    for (var id = 1u; id < N_EXPERTS; id += 1u) {
        largest = max(largest, logits[at + id]);
    }
    total = 0.0;
    for (var id = 0u; id < N_EXPERTS; id += 1u) {
        total += exp(logits[at + id] - largest);
    }
}

fn score(i: u32) -> f32 {
    return exp(logits[i] - largest) / total;
}
