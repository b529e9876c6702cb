//! Numbers as texts, as ONNX Runtime writes and reads them.

use tract_onnx::tract_hir::internal::{TractErrorContext, TractResult};

/// As C's `%.{digits}g`: without needless zeros, with an exponent where it is much shorter.
pub(super) fn write_float(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "INF" } else { "-INF" }.into();
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
    };
    let wide = usize::try_from(exponent).is_ok_and(|exponent| exponent >= digits);
    if exponent < -4 || wide {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    // As many digits in all, those before the point included.
    let places = digits.saturating_add_signed(-(exponent as isize)).saturating_sub(1);
    trimmed(&format!("{value:.places$}"))
}

/// A number, `NaN`, `INF` or `-INF`.
pub(super) fn read_float(text: &str) -> TractResult<f64> {
    text.trim().parse().with_context(|| format!("'{}' is not a number", beginning(text)))
}

/// A whole number.
pub(super) fn read_int(text: &str) -> TractResult<i64> {
    text.trim().parse().with_context(|| format!("'{}' is not a whole number", beginning(text)))
}

/// As much of a caller's text as an error repeats.
fn beginning(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::{read_float, write_float};

    #[test]
    fn writes_as_c_does() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (1e10, "1e+10"),
            (1e-7, "1e-07"),
            (123_456_789.0, "1.2345679e+08"),
            (100.0, "100"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-INF"),
        ];
        for (value, text) in cases {
            assert_eq!(write_float(value, 8), text);
        }
        assert!(read_float("NaN").unwrap().is_nan());
        assert!(read_float("x").is_err());
    }
}
