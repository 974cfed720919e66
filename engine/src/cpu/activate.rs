//! `y = f(gate) · up`.

use crate::op::Gate;

/// `gate, up [n, hidden] → y[n, hidden]`.
pub fn run(gate: &[f32], up: &[f32], function: Gate, y: &mut [f32]) {
    match function {
        Gate::SwiGlu => {
            for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
                *y = g / (1.0 + (-g).exp()) * u;
            }
        }
    }
}
