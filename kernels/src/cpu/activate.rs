//! `y = f(x) (· up)`.

use super::{
    exp::exp,
    integers::{Simd, Work},
};
use crate::op::Function;

/// `x, up [n, hidden] → y[n, hidden]`.
pub struct Activation<'a> {
    pub x: &'a [f32],
    pub up: Option<&'a [f32]>,
    pub function: Function,
    pub y: &'a mut [f32],
}

impl Work for Activation<'_> {
    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { x, up, function, y } = self;
        match function {
            Function::Silu => each(x, y, silu),
            Function::Gelu => each(x, y, gelu),
            Function::GeluErf => each(x, y, gelu_erf),
            Function::Relu => each(x, y, |x| x.max(0.0)),
            Function::Sigmoid => each(x, y, sigmoid),
            Function::ReluSquared => each(x, y, |x| x.max(0.0) * x.max(0.0)),
        }
        if let Some(up) = up {
            y.iter_mut().zip(up).for_each(|(y, up)| *y *= up);
        }
    }
}

#[inline(always)]
fn each(x: &[f32], y: &mut [f32], function: impl Fn(f32) -> f32) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y = function(*x));
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

#[inline(always)]
fn gelu_erf(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Abramowitz & Stegun 7.1.26, good to 1.5e-7.
#[inline(always)]
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
