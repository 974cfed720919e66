// Which experts each token goes to.
@group(0) @binding(1) var<storage, read> logits: array<f32>; // [n, N_EXPERTS]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [n, 2 * TOP_K]

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) group: vec3<u32>) {
    choose(group.z * N_EXPERTS);
    for (var i = 0u; i < CHOICE; i += 1u) {
        y[group.z * CHOICE + i] = choice[i];
    }
}
