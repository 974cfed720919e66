// How much each path of a mixture counts: softmax((logits + bias) / TEMPERATURE), of which the TOP_K largest
// are kept and divided by their sum. One invocation to a token: the paths are few.
override N_PATHS: u32;
override TOP_K: u32;
override TEMPERATURE: f32;

@group(0) @binding(1) var<storage, read> logits: array<f32>; // [n, N_PATHS]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [n, N_PATHS]

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) group: vec3<u32>) {
    let at = group.z * N_PATHS;
    var largest = logit(at, 0u);
    for (var i = 1u; i < N_PATHS; i += 1u) {
        largest = max(largest, logit(at, i));
    }
    var sum = 0.0;
    for (var i = 0u; i < N_PATHS; i += 1u) {
        var weight = 0.0;
        if (rank(at, i) < TOP_K) {
            weight = exp(logit(at, i) - largest);
        }
        y[at + i] = weight;
        sum += weight;
    }
    for (var i = 0u; i < N_PATHS; i += 1u) {
        y[at + i] /= sum;
    }
}

fn logit(at: u32, i: u32) -> f32 {
    return (logits[at + i] + bias(i)) / TEMPERATURE;
}

// How many paths come before this one.
fn rank(at: u32, i: u32) -> u32 {
    let own = logit(at, i);
    var before = 0u;
    for (var j = 0u; j < N_PATHS; j += 1u) {
        let other = logit(at, j);
        before += select(0u, 1u, other > own || (other == own && j < i));
    }
    return before;
}
