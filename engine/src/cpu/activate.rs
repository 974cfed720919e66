//! `y = f(x) (· up)`.

use crate::op::Function;

/// `x, up [n, hidden] → y[n, hidden]`.
pub fn run(x: &[f32], up: Option<&[f32]>, function: Function, y: &mut [f32]) {
    match function {
        Function::Silu => y.iter_mut().zip(x).for_each(|(y, x)| *y = silu(*x)),
        Function::Gelu => y.iter_mut().zip(x).for_each(|(y, x)| *y = gelu(*x)),
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

fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// `1 / (1 + exp(−x))`
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn gelu(x: f32) -> f32 {
    let z = std::f32::consts::FRAC_2_PI.sqrt() * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + z.tanh())
}
