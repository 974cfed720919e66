//! `y = f(x) (· up)`.

use super::exp::exp;
use crate::op::Function;

/// `x, up [n, hidden] → y[n, hidden]`.
pub fn run(x: &[f32], up: Option<&[f32]>, function: Function, y: &mut [f32]) {
    match function {
        Function::Silu => y.iter_mut().zip(x).for_each(|(y, x)| *y = silu(*x)),
        Function::Gelu => y.iter_mut().zip(x).for_each(|(y, x)| *y = gelu(*x)),
        Function::GeluErf => y.iter_mut().zip(x).for_each(|(y, x)| *y = gelu_erf(*x)),
        Function::Relu => y.iter_mut().zip(x).for_each(|(y, x)| *y = x.max(0.0)),
        Function::Sigmoid => y.iter_mut().zip(x).for_each(|(y, x)| *y = sigmoid(*x)),
        Function::ReluSquared => {
            let square = |x: f32| x * x;
            y.iter_mut()
                .zip(x)
                .for_each(|(y, x)| *y = square(x.max(0.0)));
        }
    }
    if let Some(up) = up {
        y.iter_mut().zip(up).for_each(|(y, up)| *y *= up);
    }
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// `1 / (1 + exp(−x))`
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    let z = std::f32::consts::FRAC_2_PI.sqrt() * (x + 0.044_715 * x * x * x);
    // (1 + tanh z) / 2
    x * sigmoid(2.0 * z)
}

fn gelu_erf(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Abramowitz & Stegun 7.1.26, good to 1.5e-7.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let series = [
        1.061_405_4,
        -1.453_152,
        1.421_413_7,
        -0.284_496_74,
        0.254_829_6,
    ];
    let sum = series.iter().fold(0.0, |sum, a| (sum + a) * t);
    (1.0 - sum * exp(-x * x)).copysign(x)
}
