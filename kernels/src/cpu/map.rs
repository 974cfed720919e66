//! Parameters as they are meant, from what is stored.

use super::Packed;
use crate::op::{Map, Parameter, Weight};

/// `[width]`
pub fn values<'w>(parameter: Parameter, w: &impl Fn(Weight) -> &'w Packed) -> Vec<f32> {
    let mut values = w(parameter.w).floats();
    for x in &mut values {
        *x = mapped(*x, parameter.map);
    }
    values
}

fn mapped(x: f32, map: Map) -> f32 {
    match map {
        Map::Identity => x,
        Map::Exp => x.exp(),
        Map::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Map::Gate => 2.0 / (1.0 + (-x).exp()),
    }
}
