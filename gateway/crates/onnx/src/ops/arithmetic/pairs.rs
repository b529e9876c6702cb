//! The functions of operators with two arguments, as nodes of a plan.

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::binary::BinMiniOp;
use tract_onnx::tract_hir::tract_core::tract_linalg::BinOp;

use crate::ops::invalid::invalid;

/// A function of two numbers of one type, which is its own type too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// The other where the one is less: a NaN stays, and one that it is compared with is none.
    AtLeast,
    /// The other where the one is greater, likewise.
    AtMost,
    Div,
    /// The remainder with the dividend's sign.
    Fmod,
    Max,
    Min,
    /// The remainder with the divisor's sign.
    Mod,
    Pow,
    PRelu,
    ShiftLeft,
    ShiftRight,
}

/// The functions of one type of numbers.
pub(super) trait Number: Datum + Copy {
    fn divide(self, by: Self) -> Self;
    fn remainder(self, by: Self) -> Self;
    fn modulo(self, by: Self) -> Self;
    fn greatest(self, other: Self) -> Self;
    fn least(self, other: Self) -> Self;
    fn at_least(self, bound: Self) -> Self;
    fn at_most(self, bound: Self) -> Self;
    fn power(self, exponent: Self) -> Self;
    fn leaky(self, slope: Self) -> Self;
    fn left(self, bits: Self) -> Self;
    fn right(self, bits: Self) -> Self;
    /// Whether dividing by it has no result.
    fn divides_nothing(self) -> bool;
}

macro_rules! floats {
    ($($float:ident)*) => { $(
        impl Number for $float {
            fn divide(self, by: Self) -> Self {
                self / by
            }
            fn remainder(self, by: Self) -> Self {
                self % by
            }
            #[expect(clippy::float_cmp, reason = "nothing is left, or something")]
            fn modulo(self, by: Self) -> Self {
                let rest = self % by;
                if rest != Self::from(0u8) && (rest < Self::from(0u8)) != (by < Self::from(0u8)) { rest + by } else { rest }
            }
            // A NaN on either side is the result.
            fn greatest(self, other: Self) -> Self {
                if self > other || self.is_nan() { self } else { other }
            }
            fn least(self, other: Self) -> Self {
                if self < other || self.is_nan() { self } else { other }
            }
            fn at_least(self, bound: Self) -> Self {
                if self < bound { bound } else { self }
            }
            fn at_most(self, bound: Self) -> Self {
                if self > bound { bound } else { self }
            }
            #[expect(clippy::float_cmp, reason = "the very number")]
            fn power(self, exponent: Self) -> Self {
                if exponent == Self::from(2u8) { self * self } else { self.powf(exponent) }
            }
            fn leaky(self, slope: Self) -> Self {
                if self < Self::from(0u8) { self * slope } else { self }
            }
            fn left(self, _: Self) -> Self {
                self
            }
            fn right(self, _: Self) -> Self {
                self
            }
            fn divides_nothing(self) -> bool {
                false
            }
        }
    )* };
}
floats!(f32 f64);

macro_rules! through_singles {
    ($($function:ident)*) => { $(
        fn $function(self, other: Self) -> Self {
            Self::from_f32(self.to_f32().$function(other.to_f32()))
        }
    )* };
}

impl Number for f16 {
    through_singles! { divide remainder modulo greatest least at_least at_most power leaky left right }
    fn divides_nothing(self) -> bool {
        false
    }
}

macro_rules! integers {
    ($($integer:ident)*) => { $(
        impl Number for $integer {
            fn divide(self, by: Self) -> Self {
                self.wrapping_div(by)
            }
            fn remainder(self, by: Self) -> Self {
                self.wrapping_rem(by)
            }
            fn modulo(self, by: Self) -> Self {
                let rest = self.wrapping_rem(by);
                #[allow(unused_comparisons, reason = "for types with a sign")]
                let other_sign = (rest < 0) != (by < 0);
                if rest != 0 && other_sign { rest.wrapping_add(by) } else { rest }
            }
            fn greatest(self, other: Self) -> Self {
                self.max(other)
            }
            fn least(self, other: Self) -> Self {
                self.min(other)
            }
            fn at_least(self, bound: Self) -> Self {
                self.max(bound)
            }
            fn at_most(self, bound: Self) -> Self {
                self.min(bound)
            }
            fn power(self, exponent: Self) -> Self {
                #[allow(clippy::cast_lossless, reason = "for the types that lose nothing")]
                let power = (self as f64).powf(exponent as f64);
                power as Self
            }
            fn leaky(self, slope: Self) -> Self {
                #[allow(unused_comparisons, reason = "for types with a sign")]
                if self < 0 { self.wrapping_mul(slope) } else { self }
            }
            fn left(self, bits: Self) -> Self {
                u32::try_from(bits).ok().and_then(|bits| self.checked_shl(bits)).unwrap_or(0)
            }
            fn right(self, bits: Self) -> Self {
                u32::try_from(bits).ok().and_then(|bits| self.checked_shr(bits)).unwrap_or(0)
            }
            fn divides_nothing(self) -> bool {
                self == 0
            }
        }
    )* };
}
integers!(i8 i16 i32 i64 u8 u16 u32 u64);

/// The node in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pairs {
    pub(super) function: Function,
    /// Its form as part of a product, where that is as right.
    pub(super) fused: Option<BinOp>,
}

impl Pairs {
    fn in_place<T: Number>(function: Function, a: &mut Tensor, b: &Tensor) -> TractResult<()> {
        fn each<T: Number>(a: &mut Tensor, b: &Tensor, function: impl Fn(T, T) -> T) -> TractResult<()> {
            let mut a = a.try_as_plain_ram_mut()?;
            if let &[b] = b.try_as_plain_ram()?.as_slice::<T>()? {
                a.as_slice_mut::<T>()?.iter_mut().for_each(|a| *a = function(*a, b));
                return Ok(());
            }
            let (a, b) = (a.to_array_view_mut::<T>()?, b.to_plain_array_view::<T>()?);
            tract_ndarray::Zip::from(a).and_broadcast(b).for_each(|a, &b| *a = function(*a, b));
            Ok(())
        }
        match function {
            Function::AtLeast => each(a, b, T::at_least),
            Function::AtMost => each(a, b, T::at_most),
            Function::Div => each(a, b, T::divide),
            Function::Fmod => each(a, b, T::remainder),
            Function::Max => each(a, b, T::greatest),
            Function::Min => each(a, b, T::least),
            Function::Mod => each(a, b, T::modulo),
            Function::Pow => each(a, b, T::power),
            Function::PRelu => each(a, b, T::leaky),
            Function::ShiftLeft => each(a, b, T::left),
            Function::ShiftRight => each(a, b, T::right),
        }
    }

    fn check_divisor<T: Number>(function: Function, b: &Tensor) -> TractResult<()> {
        if matches!(function, Function::Div | Function::Fmod | Function::Mod) {
            let divisors = b.try_as_plain_ram()?;
            let zero = divisors.as_slice::<T>()?.iter().position(|divisor| divisor.divides_nothing());
            if let Some(position) = zero {
                return Err(invalid(1, Some(position), "a whole number is divided by zero".to_owned()));
            }
        }
        Ok(())
    }

    fn checked<T: Number>(function: Function, a: &mut Tensor, b: &Tensor) -> TractResult<()> {
        Self::check_divisor::<T>(function, b)?;
        Self::in_place::<T>(function, a, b)
    }
}

/// Whether there are such functions of the type.
pub(super) fn is_supported(datum: DatumType) -> bool {
    datum.is_float() || datum.is_integer()
}

impl BinMiniOp for Pairs {
    fn name(&self) -> &'static str {
        match self.function {
            Function::AtLeast => "AtLeast",
            Function::AtMost => "AtMost",
            Function::Div => "Div",
            Function::Fmod => "Fmod",
            Function::Max => "Max",
            Function::Min => "Min",
            Function::Mod => "Mod",
            Function::Pow => "Pow",
            Function::PRelu => "PRelu",
            Function::ShiftLeft => "ShiftLeft",
            Function::ShiftRight => "ShiftRight",
        }
    }

    fn result_datum_type(&self, a: DatumType, b: DatumType) -> TractResult<DatumType> {
        self.operating_datum_type(a, b)
    }

    fn is_commutative(&self) -> bool {
        matches!(self.function, Function::Max | Function::Min)
    }

    fn eval_in_a(&self, a: &mut Tensor, b: &Tensor) -> TractResult<()> {
        let function = self.function;
        ensure!(a.datum_type() == b.datum_type(), "{:?} and {:?}", a.datum_type(), b.datum_type());
        match a.datum_type() {
            DatumType::F16 => Self::checked::<f16>(function, a, b),
            DatumType::F32 => Self::checked::<f32>(function, a, b),
            DatumType::F64 => Self::checked::<f64>(function, a, b),
            DatumType::I8 => Self::checked::<i8>(function, a, b),
            DatumType::I16 => Self::checked::<i16>(function, a, b),
            DatumType::I32 => Self::checked::<i32>(function, a, b),
            DatumType::I64 => Self::checked::<i64>(function, a, b),
            DatumType::U8 => Self::checked::<u8>(function, a, b),
            DatumType::U16 => Self::checked::<u16>(function, a, b),
            DatumType::U32 => Self::checked::<u32>(function, a, b),
            DatumType::U64 => Self::checked::<u64>(function, a, b),
            other => bail!("{} of {other:?} is not supported", self.name()),
        }
    }

    fn eval_out_of_place(&self, c: &mut Tensor, a: &Tensor, b: &Tensor) -> TractResult<()> {
        let mut spread = a.broadcast_to_shape(c.shape())?;
        self.eval_in_a(&mut spread, b)?;
        *c = spread;
        Ok(())
    }

    fn as_linalg_binop(&self) -> Option<BinOp> {
        self.fused
    }
}

/// An operator of tract's without its rewrites: `x * 0` is no zero where `x` is not finite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plain(pub(super) Box<dyn BinMiniOp>);

impl BinMiniOp for Plain {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn operating_datum_type(&self, a: DatumType, b: DatumType) -> TractResult<DatumType> {
        self.0.operating_datum_type(a, b)
    }

    fn result_datum_type(&self, a: DatumType, b: DatumType) -> TractResult<DatumType> {
        self.0.result_datum_type(a, b)
    }

    fn eval_in_a(&self, a: &mut Tensor, b: &Tensor) -> TractResult<()> {
        self.0.eval_in_a(a, b)
    }

    fn eval_out_of_place(&self, c: &mut Tensor, a: &Tensor, b: &Tensor) -> TractResult<()> {
        self.0.eval_out_of_place(c, a, b)
    }

    fn eval(&self, a: TValue, b: TValue, datum: DatumType) -> TractResult<Tensor> {
        self.0.eval(a, b, datum)
    }

    fn is_commutative(&self) -> bool {
        self.0.is_commutative()
    }

    fn as_linalg_binop(&self) -> Option<BinOp> {
        self.0.as_linalg_binop()
    }
}
