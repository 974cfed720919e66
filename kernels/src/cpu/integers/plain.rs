//! Loops, as the compiler likes them: eight sums beside one another.

use super::{Group, HALVES, Halves, Pair, Pairs, Simd};
use crate::formats::{GROUP, widen};

/// Any machine.
#[derive(Clone, Copy)]
pub struct Plain;

const LANES: usize = 8;

impl Simd for Plain {
    type Weights = Group;
    type Sums = [i32; LANES];
    type Eight = [i32; LANES];
    type Total = [f32; LANES];
    type Scales = [f32; HALVES];

    fn new() -> Self {
        Self
    }

    fn zero() -> Self::Total {
        [0.0; LANES]
    }

    fn nibbles(self, q: &[u8; GROUP / 2]) -> Group {
        std::array::from_fn(|i| i16::from(if i < 16 { q[i] & 15 } else { q[i - 16] >> 4 }))
    }

    fn bytes(self, q: &[u8; GROUP]) -> Group {
        q.map(|q| i16::from(q as i8))
    }

    fn bits(self, q: &[u8; GROUP / 8]) -> Group {
        std::array::from_fn(|i| i16::from(q[i / 8] >> (i % 8) & 1))
    }

    fn store(w: Group) -> Group {
        w
    }

    fn load(w: &Group) -> Group {
        *w
    }

    fn dot<const SIGNED: bool>(w: Group, x: &Group) -> Self::Sums {
        let mut sums = [0; LANES];
        for i in (0..GROUP).step_by(LANES) {
            for lane in 0..LANES {
                sums[lane] += i32::from(w[i + lane]) * i32::from(x[i + lane]);
            }
        }
        sums
    }

    fn eight() -> [i32; LANES] {
        [0; LANES]
    }

    fn add_pairs(mut sums: [i32; LANES], x: &Pair, m: &Pairs) -> [i32; LANES] {
        let [a, b] = x.map(i32::from);
        for (sum, m) in sums.iter_mut().zip(m) {
            *sum += a * i32::from(m[0]) + b * i32::from(m[1]);
        }
        sums
    }

    fn floats(sums: [i32; LANES]) -> [f32; HALVES] {
        sums.map(|sum| sum as f32)
    }

    fn add(mut total: Self::Total, sums: Self::Sums, scale: f32) -> Self::Total {
        for (total, sum) in total.iter_mut().zip(sums) {
            *total += scale * sum as f32;
        }
        total
    }

    fn add_floats(mut total: Self::Total, a: &[f32; HALVES], b: &[f32; HALVES]) -> Self::Total {
        for (total, (a, b)) in total.iter_mut().zip(a.iter().zip(b)) {
            *total += a * b;
        }
        total
    }

    fn sum(total: Self::Total) -> f32 {
        total.iter().sum()
    }

    fn add_by<const LANE: usize>(
        total: Self::Total,
        sums: Self::Sums,
        scales: Self::Scales,
    ) -> Self::Total {
        Self::add(total, sums, scales[LANE])
    }

    fn scales(self, halves: &Halves, x: &[f32; HALVES]) -> Self::Scales {
        std::array::from_fn(|i| widen([halves[2 * i], halves[2 * i + 1]]) * x[i])
    }

    fn both(a: Self::Scales, b: Self::Scales) -> Self::Scales {
        std::array::from_fn(|i| a[i] + b[i])
    }

    fn lanes(scales: Self::Scales) -> [f32; HALVES] {
        scales
    }
}
