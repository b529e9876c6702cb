//! Values that a comparison, a conversion or an index may get wrong.

/// Numbers.
pub(crate) const NUMBERS: [f64; 12] =
    [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0, 1e-30, 3e38, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];

/// Texts.
pub(crate) const TEXTS: [&str; 8] = ["", "a", "b", "NaN", "-7", "1e999", "Öl und  Öl", "b-c"];
