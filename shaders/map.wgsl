// What a stored parameter stands for. The numbers are those of `Map` in kernels/src/op/metric.rs.
fn mapped(x: f32, map: u32) -> f32 {
    switch map {
        case 1u: {
            return exp(min(x, 87.0));
        }
        case 2u: {
            return max(x, 0.0) + log_1p(exp(-min(abs(x), 87.0)));
        }
        case 3u: {
            return 2.0 / (1.0 + exp(clamp(-x, -87.0, 87.0)));
        }
        default: {
            return x;
        }
    }
}

// log(1 + x) for x in 0 ..= 1, where x may be small.
fn log_1p(x: f32) -> f32 {
    if (x < 0.01) {
        return x * (1.0 - x * (0.5 - x * (0.33333333 - x * 0.25)));
    }
    return log(1.0 + x);
}
