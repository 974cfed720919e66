//! `exp` that loops can be made SIMD of: the standard library's is a call per number.

use std::hint::black_box;

/// `e^x` to within 2 units in the last place; 0 below −87, and no more than above 88.3, where floats soon end.
///
/// `e^x = 2^n · e^r` with `|r| ≤ ln 2 / 2`, and `e^r` by its Taylor series to the seventh power.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// Added and taken away again, it leaves the nearest whole number.
    const LARGE: f32 = (3 << 22) as f32;
    /// `ln 2` in two parts: a whole number times the first is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let bounded = x.clamp(-87.0, 88.3);
    let shifted = bounded * std::f32::consts::LOG2_E + LARGE;
    let n = shifted - LARGE;
    let r = bounded - n * LN_2[0] - n * LN_2[1];
    let series = [720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0];
    let power = series.iter().fold(1.0 / 5040.0, |sum, f| sum * r + 1.0 / f);
    let two_to_n = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1f32.to_bits()));
    if x < -87.0 { 0.0 } else { power * two_to_n }
}

/// `2^x` of `x ≤ 0` to within 3 millionths, where the result is to be a whole number of no more than 16 bits; next to
/// nothing below −125.
///
/// A polynomial of the least greatest relative error on `|r| ≤ 1/2`, found by Remez' exchange: it has half as many steps
/// as [`exp`]. A value of it holds its constants, hidden from the compiler, which would write them anew wherever they are
/// used; browsers make three instructions of each.
#[derive(Clone, Copy)]
pub struct PowerOfTwo {
    lowest: f32,
    large: f32,
    series: [f32; 5],
}

impl PowerOfTwo {
    /// Before a loop.
    #[inline(always)]
    pub fn new() -> Self {
        black_box(Self {
            lowest: -125.0,
            large: (3 << 22) as f32,
            series: [
                0.009_570_102,
                0.055_917_86,
                0.240_247_45,
                0.693_121_8,
                0.999_999_3,
            ],
        })
    }

    /// `2^x`
    #[inline(always)]
    pub fn of(self, x: f32) -> f32 {
        let x = if x > self.lowest { x } else { self.lowest };
        let shifted = x + self.large;
        let r = x - (shifted - self.large);
        let [first, rest @ ..] = self.series;
        let power = rest.iter().fold(first, |sum, factor| sum * r + factor);
        f32::from_bits(power.to_bits().wrapping_add(shifted.to_bits() << 23))
    }
}

#[cfg(test)]
mod tests {
    use super::{PowerOfTwo, exp};

    #[test]
    fn powers_of_two_are_near_enough() {
        let power = PowerOfTwo::new();
        for i in -124_900..=0 {
            let x = i as f32 * 1e-3;
            let exact = f64::from(x).exp2();
            let error = (f64::from(power.of(x)) - exact).abs() / exact;
            assert!(error < 3e-6, "2^{x}: {error:e}");
        }
        assert!(power.of(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn it_is_the_exponential() {
        for i in -86_900..=88_300 {
            let x = i as f32 * 1e-3;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.4e-7, "exp({x}): {error:e}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1e9), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(1e9).is_finite());
    }
}
