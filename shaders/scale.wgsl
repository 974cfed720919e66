// y = x * factor, a factor for each run of columns.
override WG: u32;
override WIDTH: u32;
override N_FACTORS: u32; // divides WIDTH
override MAP: u32;

@group(0) @binding(1) var<storage, read> x: array<f32>; // [n, WIDTH]
@group(0) @binding(2) var<storage, read> factors: array<f32>; // [N_FACTORS]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [n, WIDTH]

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let col = flat_group(group, count) * WG + local;
    if (col < WIDTH) {
        let i = group.z * WIDTH + col;
        y[i] = x[i] * mapped(factors[col / (WIDTH / N_FACTORS)], MAP);
    }
}
