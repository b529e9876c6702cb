//! The last step of classifiers and regressors on their scores.

use tract_onnx::tract_hir::internal::*;

/// The function of the scores of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named as in the ONNX operators")]
pub enum PostTransform {
    None,
    Softmax,
    Logistic,
    SoftmaxZero,
    Probit,
}

impl PostTransform {
    /// The transform of that ONNX name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"NONE" | b"" => Self::None,
            b"SOFTMAX" => Self::Softmax,
            b"LOGISTIC" => Self::Logistic,
            b"SOFTMAX_ZERO" => Self::SoftmaxZero,
            b"PROBIT" => Self::Probit,
            _ => return None,
        })
    }

    /// The transform of the attribute `post_transform`.
    pub(super) fn from_attribute(name: Option<&str>) -> TractResult<Self> {
        let name = name.unwrap_or("NONE");
        Self::from_name(name.as_bytes()).with_context(|| format!("attribute 'post_transform': unknown '{name}'"))
    }

    /// Transforms the scores of one row.
    pub(super) fn apply(self, scores: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Logistic => scores.iter_mut().for_each(|score| *score = logistic(*score)),
            Self::Probit => scores.iter_mut().for_each(|score| *score = probit(*score)),
            Self::Softmax => softmax(scores, |_| true),
            // Classes without votes stay without probability.
            Self::SoftmaxZero => softmax(scores, |score| score.is_nan() || score.abs() > 1e-7),
        }
    }
}

/// The logistic function, without overflow.
pub(super) fn logistic(score: f32) -> f32 {
    let value = 1.0 / (1.0 + (-score.abs()).exp());
    if score < 0.0 { 1.0 - value } else { value }
}

/// The inverse of the normal distribution by Winitzki's approximation with the constants that others use; in doubles,
/// since near the middle it loses half of its digits.
pub(super) fn probit(score: f32) -> f32 {
    const A: f64 = 0.147;
    let x = 2.0 * f64::from(score) - 1.0;
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let half = 2.0 / (std::f64::consts::PI * A) + 0.5 * log;
    let root = ((half * half - log / A).sqrt() - half).sqrt();
    (std::f64::consts::SQRT_2 * root).copysign(x) as f32
}

fn softmax(scores: &mut [f32], takes_part: impl Fn(f32) -> bool) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in &mut *scores {
        *score = if takes_part(*score) { (*score - max).exp() } else { 0.0 };
        sum += *score;
    }
    // What is not a number leaves nothing of a share.
    if sum > 0.0 || sum.is_nan() {
        for score in scores {
            *score /= sum;
        }
    }
}
