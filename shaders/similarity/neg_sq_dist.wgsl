// -|q - k|^2
fn prepare(head: u32, local: u32) {}

fn similarity(query: u32, key: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < HEAD_DIM / 4u; i += 1u) {
        let apart = q[query * (HEAD_DIM / 4u) + i] - keys[key * (HEAD_DIM / 4u) + i];
        sum += dot(apart, apart);
    }
    return -sum;
}
