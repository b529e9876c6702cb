//! `exp`, `tanh`, `erf` and what is made of them, for singles, without branches, so that the compiler makes vectors of
//! them. A value's result is the same bits wherever in a tensor it lies: the steps are those of one value.
//!
//! The polynomials are minimax fits of their own functions, made for these ranges.

#![expect(clippy::inline_always, reason = "what is inlined is compiled for the caller's kind of processor")]

/// `a * b + c`, rounded once where the processor does that.
#[inline(always)]
pub(super) fn fma<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// A polynomial, its coefficients from the constant one on.
#[inline(always)]
fn polynomial<const FUSED: bool, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[N - 1];
    for index in (0..N - 1).rev() {
        sum = fma::<FUSED>(sum, x, coefficients[index]);
    }
    sum
}

/// Added to a small number, leaves its nearest whole number in the lowest bits.
const ROUNDING: f32 = 12_582_912.0;

/// The exponential and, apart from it, how far `e^x - 1` is from `e^x` rounded: for [`expm1`].
#[inline(always)]
fn exp_parts<const FUSED: bool>(x: f32) -> (f32, f32, f32) {
    // Beyond these the result is infinite or zero. A NaN passes both.
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x < -104.0 { -104.0 } else { x };
    let shifted = fma::<FUSED>(x, std::f32::consts::LOG2_E, ROUNDING);
    let whole = shifted - ROUNDING;
    // ln 2 in two parts, the first short enough for its products to be exact.
    let rest = fma::<FUSED>(whole, -0.693_359_4, x);
    let rest = fma::<FUSED>(whole, 2.121_944_4e-4, rest);
    let curve = polynomial::<FUSED, 6>(
        rest,
        [0.5, 0.166_666_67, 0.041_666_463, 0.008_333_286, 0.001_393_367, 0.000_199_076_08],
    );
    // e^rest - 1
    let part = fma::<FUSED>(rest * rest, curve, rest);
    let power = (shifted.to_bits() as i32).wrapping_sub(ROUNDING.to_bits() as i32);
    // In two steps: the power of two may be less than the least normal number, or more than the greatest.
    let half = power >> 1;
    let two = |power: i32| f32::from_bits((power.wrapping_add(127) << 23) as u32);
    (part, two(half), two(power.wrapping_sub(half)))
}

#[inline(always)]
pub(in super::super) fn exp<const FUSED: bool>(x: f32) -> f32 {
    let (part, one, other) = exp_parts::<FUSED>(x);
    (part + 1.0) * one * other
}

/// `e^x - 1`, with all digits near zero.
#[inline(always)]
pub(super) fn expm1<const FUSED: bool>(x: f32) -> f32 {
    let (part, one, other) = exp_parts::<FUSED>(x);
    let scale = one * other;
    let near = fma::<FUSED>(part, scale, scale - 1.0);
    // The scale alone may be infinite where its product with something less than 1 is not.
    if x > 80.0 { (part + 1.0) * one * other } else { near }
}

#[inline(always)]
pub(super) fn sigmoid<const FUSED: bool>(x: f32) -> f32 {
    let small = exp::<FUSED>(-x.abs());
    let least = if x < 0.0 { small } else { 1.0 };
    let value = least / (1.0 + small);
    if x.is_nan() { x } else { value }
}

#[inline(always)]
pub(super) fn tanh<const FUSED: bool>(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let curve = polynomial::<FUSED, 6>(
        square,
        [-0.333_333_3, 0.133_332_1, -0.053_947_203, 0.021_702_968, -0.008_182_674, 0.002_147_537],
    );
    let near = fma::<FUSED>(x * square, curve, x);
    let far = (1.0 - 2.0 / (exp::<FUSED>(2.0 * size) + 1.0)).copysign(x);
    if size < 0.625 { near } else { far }
}

#[inline(always)]
pub(super) fn erf<const FUSED: bool>(x: f32) -> f32 {
    let size = x.abs();
    let curve = polynomial::<FUSED, 7>(
        x * x,
        [0.128_379_17, -0.376_126_26, 0.112_836, -0.026_854_444, 0.005_189_535, -0.000_802_084_1, 7.889_119e-5],
    );
    let near = fma::<FUSED>(x, curve, x);
    let capped = if size > 4.0 { 4.0 } else { size };
    let logarithm = polynomial::<FUSED, 8>(
        capped,
        [
            0.000_170_552_03,
            -1.129_495_1,
            -0.633_386_7,
            -0.108_236_62,
            0.025_091_497,
            -0.004_160_527,
            0.000_432_303,
            -2.090_955_6e-5,
        ],
    );
    let far = (1.0 - exp::<FUSED>(logarithm)).copysign(x);
    if size < 0.95 { near } else { far }
}

/// `ln(1 + e^x)`.
#[inline(always)]
pub(super) fn softplus<const FUSED: bool>(x: f32) -> f32 {
    let small = exp::<FUSED>(-x.abs());
    let more = if x > 0.0 { x } else { 0.0 };
    let value = more + small.ln_1p();
    if x.is_nan() { x } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The greatest difference from the function of doubles, relative where that is what counts.
    fn worst(ours: fn(f32) -> f32, theirs: fn(f64) -> f64, range: (f32, f32), floor: f64) -> f64 {
        const STEPS: usize = 40_000;
        let step = (range.1 - range.0) / STEPS as f32;
        let values = (0..STEPS).map(|index| range.0 + index as f32 * step);
        values
            .map(|x| {
                let expected = theirs(x.into());
                (f64::from(ours(x)) - expected).abs() / expected.abs().max(floor)
            })
            .fold(0.0, f64::max)
    }

    fn erf_of(x: f64) -> f64 {
        super::super::exact::erf(x)
    }

    #[test]
    fn curves_are_right_to_the_last_digits() {
        for (name, worst) in [
            ("exp", worst(exp::<true>, f64::exp, (-87.0, 88.7), 0.0)),
            ("exp, without fused products", worst(exp::<false>, f64::exp, (-87.0, 88.7), 0.0)),
            ("expm1", worst(expm1::<true>, f64::exp_m1, (-30.0, 88.0), 1e-6)),
            ("sigmoid", worst(sigmoid::<true>, |x| 1.0 / (1.0 + (-x).exp()), (-86.0, 86.0), 0.0)),
            ("tanh", worst(tanh::<true>, f64::tanh, (-12.0, 12.0), 0.0)),
            ("tanh near zero", worst(tanh::<true>, f64::tanh, (-1e-3, 1e-3), 1e-9)),
            ("erf", worst(erf::<true>, erf_of, (-5.0, 5.0), 1e-9)),
            ("erf, without fused products", worst(erf::<false>, erf_of, (-5.0, 5.0), 1e-9)),
            ("softplus", worst(softplus::<true>, |x| x.max(0.0) + (-x.abs()).exp().ln_1p(), (-80.0, 100.0), 0.0)),
        ] {
            assert!(worst < 5e-7, "{name} is off by {worst:e}");
        }
    }

    #[test]
    fn ends_are_where_they_belong() {
        for (ours, expected) in [
            (exp::<true>(f32::INFINITY), f32::INFINITY),
            (exp::<true>(100.0), f32::INFINITY),
            (exp::<true>(f32::NEG_INFINITY), 0.0),
            (exp::<true>(0.0), 1.0),
            (expm1::<true>(f32::NEG_INFINITY), -1.0),
            (expm1::<true>(f32::INFINITY), f32::INFINITY),
            (sigmoid::<true>(f32::NEG_INFINITY), 0.0),
            (sigmoid::<true>(f32::INFINITY), 1.0),
            (tanh::<true>(f32::INFINITY), 1.0),
            (tanh::<true>(-200.0), -1.0),
            (erf::<true>(f32::NEG_INFINITY), -1.0),
            (erf::<true>(100.0), 1.0),
            (softplus::<true>(f32::INFINITY), f32::INFINITY),
            (softplus::<true>(200.0), 200.0),
        ] {
            assert_eq!(ours.to_bits(), expected.to_bits(), "{ours} for {expected}");
        }
        for curve in [exp::<true>, expm1::<true>, sigmoid::<true>, tanh::<true>, erf::<true>, softplus::<true>] {
            assert!(curve(f32::NAN).is_nan());
        }
    }
}
