//! The functions of unary operators, for values of each type.

#![expect(clippy::inline_always, reason = "what is inlined is compiled for the caller's kind of processor")]

use multiversion::multiversion;
use multiversion::target::target_cfg_f;
use tract_onnx::tract_hir::internal::f16;

use super::curves;
use super::exact;

/// A function of one number, with the parameters of its node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Function {
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Ceil,
    Celu {
        alpha: f32,
    },
    /// Between bounds; a NaN stays one.
    Clip {
        low: f32,
        high: f32,
    },
    Cos,
    Cosh,
    Elu {
        alpha: f32,
    },
    Erf,
    Exp,
    FastGelu,
    Floor,
    Gelu,
    HardSigmoid {
        alpha: f32,
        beta: f32,
    },
    HardSwish,
    LeakyRelu {
        alpha: f32,
    },
    Log,
    Mish,
    Neg,
    ParametricSoftplus {
        alpha: f32,
        beta: f32,
    },
    QuickGelu {
        alpha: f32,
    },
    Reciprocal,
    Round,
    ScaledTanh {
        alpha: f32,
        beta: f32,
    },
    Selu {
        alpha: f32,
        gamma: f32,
    },
    Shrink {
        bias: f32,
        lambd: f32,
    },
    Sigmoid,
    Sign,
    Sin,
    Sinh,
    Softplus,
    Softsign,
    Sqrt,
    Tan,
    Tanh,
    ThresholdedRelu {
        alpha: f32,
    },
}

const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
const GELU_CUBE: f64 = 0.044_715;

/// Applies a function to every value.
#[inline(always)]
fn each<T: Copy>(values: &mut [T], function: impl Fn(T) -> T) {
    for value in values {
        *value = function(*value);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
pub(super) fn singles(function: Function, values: &mut [f32]) {
    match (target_cfg_f!(target_feature = "fma"), cfg!(target_arch = "aarch64")) {
        (true, _) | (_, true) => singles_fused::<true>(function, values),
        _ => singles_fused::<false>(function, values),
    }
}

#[inline(always)]
fn singles_fused<const FUSED: bool>(function: Function, values: &mut [f32]) {
    match function {
        Function::Abs => each(values, f32::abs),
        Function::Acos => each(values, f32::acos),
        Function::Acosh => each(values, |x| f64::from(x).acosh() as f32),
        Function::Asin => each(values, f32::asin),
        Function::Asinh => each(values, |x| f64::from(x).asinh() as f32),
        Function::Atan => each(values, f32::atan),
        Function::Atanh => each(values, f32::atanh),
        Function::Ceil => each(values, f32::ceil),
        Function::Celu { alpha } => {
            each(values, |x| if x < 0.0 { alpha * curves::expm1::<FUSED>(x / alpha) } else { x });
        }
        Function::Clip { low, high } => each(values, |x| {
            let x = if x < low { low } else { x };
            if x > high { high } else { x }
        }),
        Function::Cos => each(values, f32::cos),
        Function::Cosh => each(values, f32::cosh),
        Function::Elu { alpha } => each(values, |x| if x < 0.0 { alpha * curves::expm1::<FUSED>(x) } else { x }),
        Function::Erf => each(values, curves::erf::<FUSED>),
        Function::Exp => each(values, curves::exp::<FUSED>),
        Function::FastGelu => each(values, |x| {
            let inner = SQRT_2_OVER_PI as f32 * x * curves::fma::<FUSED>(GELU_CUBE as f32 * x, x, 1.0);
            0.5 * x * (1.0 + curves::tanh::<FUSED>(inner))
        }),
        Function::Floor => each(values, f32::floor),
        Function::Gelu => each(values, |x| 0.5 * x * (1.0 + curves::erf::<FUSED>(x * std::f32::consts::FRAC_1_SQRT_2))),
        Function::HardSigmoid { alpha, beta } => each(values, |x| clamped(alpha * x + beta)),
        Function::HardSwish => each(values, |x| x * clamped(x / 6.0 + 0.5)),
        Function::LeakyRelu { alpha } => each(values, |x| if x < 0.0 { alpha * x } else { x }),
        Function::Log => each(values, f32::ln),
        Function::Mish => each(values, |x| x * curves::tanh::<FUSED>(curves::softplus::<FUSED>(x))),
        Function::Neg => each(values, |x| -x),
        Function::ParametricSoftplus { alpha, beta } => {
            each(values, |x| alpha * curves::softplus::<FUSED>(beta * x));
        }
        Function::QuickGelu { alpha } => each(values, |x| x * curves::sigmoid::<FUSED>(alpha * x)),
        Function::Reciprocal => each(values, f32::recip),
        Function::Round => each(values, f32::round_ties_even),
        Function::ScaledTanh { alpha, beta } => each(values, |x| alpha * curves::tanh::<FUSED>(beta * x)),
        Function::Selu { alpha, gamma } => {
            each(values, |x| if x > 0.0 { gamma * x } else { gamma * alpha * curves::expm1::<FUSED>(x) });
        }
        Function::Shrink { bias, lambd } => each(values, |x| shrunk(x, bias, lambd)),
        Function::Sigmoid => each(values, curves::sigmoid::<FUSED>),
        Function::Sign => {
            each(values, |x| if x.is_nan() { x } else { f32::from(i8::from(x > 0.0) - i8::from(x < 0.0)) });
        }
        Function::Sin => each(values, f32::sin),
        Function::Sinh => each(values, f32::sinh),
        Function::Softplus => each(values, curves::softplus::<FUSED>),
        Function::Softsign => each(values, |x| x / (1.0 + x.abs())),
        Function::Sqrt => each(values, f32::sqrt),
        Function::Tan => each(values, f32::tan),
        Function::Tanh => each(values, curves::tanh::<FUSED>),
        Function::ThresholdedRelu { alpha } => each(values, |x| if x > alpha { x } else { 0.0 }),
    }
}

/// Between 0 and 1; a NaN stays one.
#[inline(always)]
fn clamped(x: f32) -> f32 {
    let x = if x > 1.0 { 1.0 } else { x };
    if x < 0.0 { 0.0 } else { x }
}

#[inline(always)]
fn shrunk(x: f32, bias: f32, lambd: f32) -> f32 {
    let less = if x > lambd { x - bias } else { 0.0 };
    if x < -lambd { x + bias } else { less }
}

pub(super) fn doubles(function: Function, values: &mut [f64]) {
    let clamped = |x: f64| {
        let x = if x > 1.0 { 1.0 } else { x };
        if x < 0.0 { 0.0 } else { x }
    };
    let wide = f64::from;
    match function {
        Function::Abs => each(values, f64::abs),
        Function::Acos => each(values, f64::acos),
        Function::Acosh => each(values, f64::acosh),
        Function::Asin => each(values, f64::asin),
        Function::Asinh => each(values, f64::asinh),
        Function::Atan => each(values, f64::atan),
        Function::Atanh => each(values, f64::atanh),
        Function::Ceil => each(values, f64::ceil),
        Function::Celu { alpha } => {
            each(values, |x| if x < 0.0 { wide(alpha) * (x / wide(alpha)).exp_m1() } else { x });
        }
        Function::Clip { low, high } => each(values, |x| {
            let x = if x < wide(low) { wide(low) } else { x };
            if x > wide(high) { wide(high) } else { x }
        }),
        Function::Cos => each(values, f64::cos),
        Function::Cosh => each(values, f64::cosh),
        Function::Elu { alpha } => each(values, |x| if x < 0.0 { wide(alpha) * x.exp_m1() } else { x }),
        Function::Erf => each(values, exact::erf),
        Function::Exp => each(values, f64::exp),
        Function::FastGelu => {
            each(values, |x| 0.5 * x * (1.0 + (SQRT_2_OVER_PI * x * (1.0 + GELU_CUBE * x * x)).tanh()));
        }
        Function::Floor => each(values, f64::floor),
        Function::Gelu => each(values, |x| 0.5 * x * (1.0 + exact::erf(x * std::f64::consts::FRAC_1_SQRT_2))),
        Function::HardSigmoid { alpha, beta } => each(values, |x| clamped(wide(alpha) * x + wide(beta))),
        Function::HardSwish => each(values, |x| x * clamped(x / 6.0 + 0.5)),
        Function::LeakyRelu { alpha } => each(values, |x| if x < 0.0 { wide(alpha) * x } else { x }),
        Function::Log => each(values, f64::ln),
        Function::Mish => each(values, |x| x * exact::softplus(x).tanh()),
        Function::Neg => each(values, |x| -x),
        Function::ParametricSoftplus { alpha, beta } => {
            each(values, |x| wide(alpha) * exact::softplus(wide(beta) * x));
        }
        Function::QuickGelu { alpha } => each(values, |x| x * exact::sigmoid(wide(alpha) * x)),
        Function::Reciprocal => each(values, f64::recip),
        Function::Round => each(values, f64::round_ties_even),
        Function::ScaledTanh { alpha, beta } => each(values, |x| wide(alpha) * (wide(beta) * x).tanh()),
        Function::Selu { alpha, gamma } => {
            each(values, |x| if x > 0.0 { wide(gamma) * x } else { wide(gamma) * wide(alpha) * x.exp_m1() });
        }
        Function::Shrink { bias, lambd } => each(values, |x| {
            let less = if x > wide(lambd) { x - wide(bias) } else { 0.0 };
            if x < -wide(lambd) { x + wide(bias) } else { less }
        }),
        Function::Sigmoid => each(values, exact::sigmoid),
        Function::Sign => {
            each(values, |x| if x.is_nan() { x } else { f64::from(i8::from(x > 0.0) - i8::from(x < 0.0)) });
        }
        Function::Sin => each(values, f64::sin),
        Function::Sinh => each(values, f64::sinh),
        Function::Softplus => each(values, exact::softplus),
        Function::Softsign => each(values, |x| x / (1.0 + x.abs())),
        Function::Sqrt => each(values, f64::sqrt),
        Function::Tan => each(values, f64::tan),
        Function::Tanh => each(values, f64::tanh),
        Function::ThresholdedRelu { alpha } => each(values, |x| if x > wide(alpha) { x } else { 0.0 }),
    }
}

/// Halves, computed as singles.
pub(super) fn halves(function: Function, values: &mut [f16]) {
    const SOME: usize = 256;
    let mut wide = [0.0; SOME];
    for values in values.chunks_mut(SOME) {
        let wide = &mut wide[..values.len()];
        wide.iter_mut().zip(&*values).for_each(|(wide, value)| *wide = value.to_f32());
        singles(function, wide);
        values.iter_mut().zip(wide).for_each(|(value, wide)| *value = f16::from_f32(*wide));
    }
}

/// Functions that whole numbers have too, wrapping around where the result is beyond the type.
pub(super) trait Whole: Copy + Ord + Default {
    /// One, and what is below zero by one.
    fn sign(self) -> Self;
    fn negative(self) -> Self;
}

macro_rules! whole {
    (signed $($signed:ty)* ; unsigned $($unsigned:ty)*) => {
        $(impl Whole for $signed {
            fn sign(self) -> Self {
                self.signum()
            }
            fn negative(self) -> Self {
                self.wrapping_neg()
            }
        })*
        $(impl Whole for $unsigned {
            fn sign(self) -> Self {
                self.min(1)
            }
            fn negative(self) -> Self {
                self.wrapping_neg()
            }
        })*
    };
}
whole!(signed i8 i16 i32 i64; unsigned u8 u16 u32 u64);

/// Whether it was computed: not every function has whole numbers.
pub(super) fn whole<T: Whole>(function: Function, values: &mut [T]) -> bool {
    match function {
        Function::Abs => each(values, |x| if x < T::default() { x.negative() } else { x }),
        Function::Neg => each(values, T::negative),
        Function::Sign => each(values, T::sign),
        Function::Ceil | Function::Floor | Function::Round => {}
        _ => return false,
    }
    true
}
