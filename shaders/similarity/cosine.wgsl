// q . k / (|q| |k|)
fn prepare(head: u32, local: u32) {}

fn similarity(query: u32, key: u32) -> f32 {
    var products = 0.0;
    var squares = vec2<f32>();
    for (var i = 0u; i < HEAD_DIM / 4u; i += 1u) {
        let a = q[query * (HEAD_DIM / 4u) + i];
        let b = keys[key * (HEAD_DIM / 4u) + i];
        products += dot(a, b);
        squares += vec2(dot(a, a), dot(b, b));
    }
    return products / sqrt(max(squares.x * squares.y, 1e-24));
}
