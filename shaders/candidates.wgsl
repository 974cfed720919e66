// Begins the draw where no matrix has done it: four logits to an invocation.
@group(0) @binding(1) var<storage, read> logits: array<f32>; // [VOCAB]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let flat = flat_group(group, count);
    let tokens = 4u * (flat * WG + local) + vec4(0u, 1u, 2u, 3u);
    var values = vec4<f32>();
    for (var i = 0u; i < 4u && tokens[i] < VOCAB; i += 1u) {
        values[i] = logits[tokens[i]];
    }
    tail(values, tokens, flat, local);
}
