//! Functions of doubles that the standard library lacks.

/// The error function: its series near zero, and a continued fraction of its complement beyond.
pub(super) fn erf(x: f64) -> f64 {
    const NEAR: f64 = 2.5;
    // 1 - erf(6) is less than half of the last digit of 1.
    const FAR: f64 = 6.0;
    let size = x.abs();
    if x.is_nan() || size < NEAR {
        let square = x * x;
        let (mut term, mut sum) = (x, x);
        // 40 terms are enough for all digits up to 2.5.
        for index in 1..60u32 {
            term *= -square / f64::from(index);
            sum += term / f64::from(2 * index + 1);
        }
        return sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    if size > FAR {
        return 1.0f64.copysign(x);
    }
    let fraction = (1..=80u32).rev().fold(0.0, |below, index| f64::from(index) / 2.0 / (size + below));
    let complement = (-size * size).exp() / (size + fraction) / std::f64::consts::PI.sqrt();
    (1.0 - complement).copysign(x)
}

/// The logistic function, without overflow.
pub(super) fn sigmoid(x: f64) -> f64 {
    let small = (-x.abs()).exp();
    let least = if x < 0.0 { small } else { 1.0 };
    if x.is_nan() { x } else { least / (1.0 + small) }
}

/// `ln(1 + e^x)`.
pub(super) fn softplus(x: f64) -> f64 {
    if x.is_nan() { x } else { x.max(0.0) + (-x.abs()).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::erf;

    #[test]
    fn the_error_function_is_that_of_the_tables() {
        for (x, expected) in [
            (0.0, 0.0),
            (1e-10, 1.128_379_167_095_512_6e-10),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.4, 0.999_311_486_103_355),
            (2.6, 0.999_763_965_583_470_7),
            (4.0, 0.999_999_984_582_742_1),
        ] {
            assert!((erf(x) - expected).abs() < 1e-13, "{x}: {}", erf(x));
            assert!((erf(-x) + expected).abs() < 1e-13);
        }
        assert!(erf(f64::NAN).is_nan());
    }
}
