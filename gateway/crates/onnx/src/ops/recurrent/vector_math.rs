//! The functions of gates over slices of singles, without a branch, so that the compiler makes vectors of them. Each value
//! has the same bits wherever it lies in a slice. Accurate to three units in the last place; a NaN stays one.

use multiversion::multiversion;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// The logarithm of two in two parts: the first has few enough bits for its products to be exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Added and taken away again, it rounds to a whole number.
const ROUND: f32 = 12_582_912.0;
/// Beyond these, the result would not be a normal number.
const LEAST: f32 = -87.0;
const MOST: f32 = 88.0;

/// e to a number between [`LEAST`] and [`MOST`]; what is beyond is taken to be there.
#[expect(clippy::inline_always, reason = "what is inlined is compiled for the caller's kind of processor")]
#[inline(always)]
fn exp(value: f32) -> f32 {
    let value = if value < LEAST { LEAST } else { value };
    let value = if value > MOST { MOST } else { value };
    let whole = (value * LOG2_E + ROUND) - ROUND;
    let rest = value - whole * LN_2_HIGH - whole * LN_2_LOW;
    let mut series = 1.987_569_1e-4;
    for term in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        series = series * rest + term;
    }
    let power = f32::from_bits(((whole as i32 + 127) as u32) << 23);
    (series * rest * rest + rest + 1.0) * power
}

/// One over one plus e to the minus each.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
pub(super) fn sigmoid(values: &mut [f32]) {
    for value in values {
        // Of the negative side, so that small results keep their digits.
        let small = exp(-value.abs());
        let part = 1.0 / (1.0 + small);
        let result = if *value < 0.0 { small * part } else { part };
        *value = if value.is_nan() { f32::NAN } else { result };
    }
}

/// The hyperbolic tangent of each.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
pub(super) fn tanh(values: &mut [f32]) {
    for value in values {
        let size = value.abs();
        let far = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
        let square = size * size;
        let mut series = -5.704_988_7e-3;
        for term in [2.063_908_8e-2, -5.373_971_6e-2, 1.333_144_3e-1, -3.333_328e-1] {
            series = series * square + term;
        }
        let near = series * square * size + size;
        let result = if size < 0.625 { near } else { far };
        let result = if value.is_nan() { f32::NAN } else { result };
        *value = result.copysign(*value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_as_accurate_as_it_says() {
        let values: Vec<f32> = (-200_000..200_000).map(|index| index as f32 * 1e-3).collect();
        let (mut ours, mut tangents) = (values.clone(), values.clone());
        sigmoid(&mut ours);
        tanh(&mut tangents);
        for ((&value, ours), tangent) in values.iter().zip(ours).zip(tangents) {
            let exact = 1.0 / (1.0 + (-f64::from(value)).exp());
            // What is smaller than normal numbers is told as the smallest of them.
            assert!((f64::from(ours) - exact).abs() <= 4e-7 * exact + 2e-38, "sigmoid of {value}: {ours} for {exact}");
            let exact = f64::from(value).tanh();
            assert!((f64::from(tangent) - exact).abs() <= 4e-7 * exact.abs(), "tanh of {value}: {tangent} for {exact}");
        }
    }

    #[test]
    fn what_is_no_number_stays_so() {
        let mut values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e30, -1e30, 1e-40];
        sigmoid(&mut values);
        assert!(values[0].is_nan() && values[1..].iter().all(|value| (0.0..=1.0).contains(value)));
        let mut values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e30, -1e30];
        tanh(&mut values);
        assert!(values[0].is_nan());
        assert_eq!(values[1..].iter().map(|value| value.to_bits()).collect::<Vec<_>>(), {
            [1.0f32, -1.0, -0.0, 1.0, -1.0].map(f32::to_bits)
        });
    }
}
