//! The likeness of two rows.

use tract_onnx::tract_hir::internal::*;

use super::super::attributes::Attributes;
use super::super::small_gemm::{dot, fold};

/// A kernel with its parameters.
#[derive(Clone, Copy, Debug)]
pub(super) enum KernelFunction {
    Linear,
    Poly { gamma: f32, coef0: f32, degree: f32 },
    Rbf { gamma: f32 },
    Sigmoid { gamma: f32, coef0: f32 },
}

impl KernelFunction {
    /// From `kernel_type` and `kernel_params`.
    pub(super) fn read(node: Attributes<'_>) -> TractResult<Self> {
        let (gamma, coef0, degree) = match *node.floats("kernel_params") {
            [] => (0.0, 0.0, 3.0),
            [gamma, coef0, degree] => (gamma, coef0, degree),
            ref other => bail!("attribute 'kernel_params' has {} values, expected 3", other.len()),
        };
        Ok(match node.text("kernel_type")?.unwrap_or("LINEAR") {
            "LINEAR" => Self::Linear,
            "POLY" => Self::Poly { gamma, coef0, degree },
            "RBF" => Self::Rbf { gamma },
            "SIGMOID" => Self::Sigmoid { gamma, coef0 },
            other => bail!("attribute 'kernel_type': unknown '{other}'"),
        })
    }

    /// Of two rows of one width.
    pub(super) fn value(self, one: &[f32], other: &[f32]) -> f32 {
        match self {
            Self::Linear => dot(one, other),
            Self::Poly { gamma, coef0, degree } => {
                let base = gamma * dot(one, other) + coef0;
                if degree.fract() == 0.0 { base.powi(degree as i32) } else { base.powf(degree) }
            }
            Self::Rbf { gamma } => (-gamma * fold(one, other, |x, y| (x - y) * (x - y))).exp(),
            Self::Sigmoid { gamma, coef0 } => (gamma * dot(one, other) + coef0).tanh(),
        }
    }
}
