// x / 2 * (1 + erf(x / sqrt(2))), erf by Abramowitz & Stegun 7.1.26, good to 1.5e-7.
fn function(x: f32) -> f32 {
    let z = min(abs(x) * 0.70710678, 9.0);
    let t = 1.0 / (1.0 + 0.3275911 * z);
    let sum = ((((1.0614054 * t - 1.453152) * t + 1.4214137) * t - 0.28449674) * t + 0.2548296) * t;
    let erf = 1.0 - sum * exp(-z * z);
    return 0.5 * x * (1.0 + select(erf, -erf, x < 0.0));
}
