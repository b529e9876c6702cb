//! The functions that gates may have.

use tract_onnx::tract_hir::internal::*;

use super::real::Real;
use crate::ops::attributes::Attributes;

/// A function of the standard, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Activation {
    Affine(f32, f32),
    Elu(f32),
    HardSigmoid(f32, f32),
    LeakyRelu(f32),
    Relu,
    ScaledTanh(f32, f32),
    Sigmoid,
    Softplus,
    Softsign,
    Tanh,
    ThresholdedRelu(f32),
}

impl Activation {
    /// The activations of each direction: what the attributes say, else `default`.
    pub(super) fn read(node: Attributes<'_>, default: &[Self], directions: usize) -> TractResult<Vec<Vec<Self>>> {
        let names = node.strings("activations")?;
        if names.is_empty() {
            return Ok(vec![default.to_vec(); directions]);
        }
        let expected = default.len() * directions;
        ensure!(names.len() == expected, "{} activations, expected {expected}", names.len());
        let mut alphas = node.floats("activation_alpha").iter().copied();
        let mut betas = node.floats("activation_beta").iter().copied();
        let read: Vec<_> =
            names.iter().map(|name| Self::named(name, &mut alphas, &mut betas)).collect::<TractResult<_>>()?;
        Ok(read.chunks(default.len()).map(<[Self]>::to_vec).collect())
    }

    /// Takes its parameters, if it has any, from the front of the lists.
    fn named(
        name: &str,
        alphas: &mut impl Iterator<Item = f32>,
        betas: &mut impl Iterator<Item = f32>,
    ) -> TractResult<Self> {
        let mut alpha = |default: f32| alphas.next().unwrap_or(default);
        let mut beta = |default: f32| betas.next().unwrap_or(default);
        Ok(match name.to_ascii_lowercase().as_str() {
            // Without parameters, these are what ONNX Runtime takes them for; the standard has no defaults.
            "affine" => Self::Affine(alpha(0.0), beta(0.0)),
            "elu" => Self::Elu(alpha(1.0)),
            "hardsigmoid" => Self::HardSigmoid(alpha(0.2), beta(0.5)),
            "leakyrelu" => Self::LeakyRelu(alpha(0.01)),
            "relu" => Self::Relu,
            "scaledtanh" => Self::ScaledTanh(alpha(0.0), beta(0.0)),
            "sigmoid" => Self::Sigmoid,
            "softplus" => Self::Softplus,
            "softsign" => Self::Softsign,
            "tanh" => Self::Tanh,
            "thresholdedrelu" => Self::ThresholdedRelu(alpha(0.0)),
            _ => bail!("activation '{name}' is not known"),
        })
    }

    /// Applies it to each value. A NaN stays one.
    pub(super) fn apply<T: Real>(self, values: &mut [T]) {
        let (zero, one) = (T::zero(), T::one());
        let positive = |value: T| if value < zero { zero } else { value };
        match self {
            Self::Affine(alpha, beta) => each(values, |value| T::from_f32(alpha) * value + T::from_f32(beta)),
            Self::Elu(alpha) => {
                each(values, |value| if value < zero { T::from_f32(alpha) * value.exp_m1() } else { value });
            }
            Self::HardSigmoid(alpha, beta) => each(values, |value| {
                let line = positive(T::from_f32(alpha) * value + T::from_f32(beta));
                if line > one { one } else { line }
            }),
            Self::LeakyRelu(alpha) => {
                each(values, |value| if value < zero { T::from_f32(alpha) * value } else { value });
            }
            Self::Relu => each(values, positive),
            Self::ScaledTanh(alpha, beta) => {
                each(values, |value| T::from_f32(alpha) * (T::from_f32(beta) * value).tanh());
            }
            Self::Sigmoid => T::sigmoid_all(values),
            // The greater part is taken out, so that nothing overflows.
            Self::Softplus => each(values, |value| positive(value) + (-value.abs()).exp().ln_1p()),
            Self::Softsign => each(values, |value| value / (one + value.abs())),
            Self::Tanh => T::tanh_all(values),
            Self::ThresholdedRelu(alpha) => {
                each(values, |value| if value > T::from_f32(alpha) || value.is_nan() { value } else { zero });
            }
        }
    }
}

fn each<T: Copy>(values: &mut [T], function: impl Fn(T) -> T) {
    for value in values {
        *value = function(*value);
    }
}
