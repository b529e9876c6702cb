//! Unary operators and activations, value by value. tract sees an element-wise operator like its own, so that its
//! rewrites of shapes pass through; what is computed is ours: NaN stays NaN, and no result depends on where in a tensor
//! its value lies.

mod curves;
mod exact;
mod function;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cast::wire_cast;
use tract_onnx::tract_hir::tract_core::ops::element_wise::{ElementWiseMiniOp, ElementWiseOp};

pub(super) use self::curves::exp;
use self::function::Function;
use super::attributes::Attributes;
use super::kernel::{Built, Operator};

/// `name` of the standard, without attributes.
macro_rules! plain {
    ($($constant:ident $name:ident;)*) => {
        $(pub(super) const $constant: Operator = Operator {
            domain: "",
            name: stringify!($name),
            attributes: &[],
            build: |_, _| built(Function::$name),
        };)*
    };
}
plain! {
    ABS Abs; ACOS Acos; ACOSH Acosh; ASIN Asin; ASINH Asinh; ATAN Atan; ATANH Atanh; CEIL Ceil; COS Cos; COSH Cosh;
    ERF Erf; EXP Exp; FLOOR Floor; HARD_SWISH HardSwish; LOG Log; MISH Mish; NEG Neg; RECIPROCAL Reciprocal; ROUND Round;
    SIGMOID Sigmoid; SIGN Sign; SIN Sin; SINH Sinh; SOFTPLUS Softplus; SOFTSIGN Softsign; SQRT Sqrt; TAN Tan; TANH Tanh;
}

/// An operator with parameters, whose defaults are those of the standard.
macro_rules! with_parameters {
    ($($constant:ident $domain:literal $name:literal [$($attribute:literal),*] $build:expr;)*) => {
        $(pub(super) const $constant: Operator = Operator {
            domain: $domain,
            name: $name,
            attributes: &[$($attribute),*],
            build: |_, node| {
                let build: fn(Attributes<'_>) -> Function = $build;
                built(build(Attributes(node)))
            },
        };)*
    };
}
with_parameters! {
    CELU "" "Celu" ["alpha"] |node| Function::Celu { alpha: node.float("alpha").unwrap_or(1.0) };
    ELU "" "Elu" ["alpha"] |node| Function::Elu { alpha: node.float("alpha").unwrap_or(1.0) };
    HARD_SIGMOID "" "HardSigmoid" ["alpha", "beta"] |node| Function::HardSigmoid {
        alpha: node.float("alpha").unwrap_or(0.2),
        beta: node.float("beta").unwrap_or(0.5),
    };
    LEAKY_RELU "" "LeakyRelu" ["alpha"] |node| Function::LeakyRelu { alpha: node.float("alpha").unwrap_or(0.01) };
    PARAMETRIC_SOFTPLUS "" "ParametricSoftplus" ["alpha", "beta"] |node| Function::ParametricSoftplus {
        alpha: node.float("alpha").unwrap_or(1.0),
        beta: node.float("beta").unwrap_or(1.0),
    };
    QUICK_GELU "com.microsoft" "QuickGelu" ["alpha"] |node| Function::QuickGelu {
        alpha: node.float("alpha").unwrap_or(1.702),
    };
    SWISH "" "Swish" ["alpha"] |node| Function::QuickGelu {
        alpha: node.float("alpha").unwrap_or(1.0),
    };
    SCALED_TANH "" "ScaledTanh" ["alpha", "beta"] |node| Function::ScaledTanh {
        alpha: node.float("alpha").unwrap_or(1.0),
        beta: node.float("beta").unwrap_or(1.0),
    };
    SELU "" "Selu" ["alpha", "gamma"] |node| Function::Selu {
        alpha: node.float("alpha").unwrap_or(1.673_263_2),
        gamma: node.float("gamma").unwrap_or(1.050_701),
    };
    SHRINK "" "Shrink" ["bias", "lambd"] |node| Function::Shrink {
        bias: node.float("bias").unwrap_or(0.0),
        lambd: node.float("lambd").unwrap_or(0.5),
    };
    THRESHOLDED_RELU "" "ThresholdedRelu" ["alpha"] |node| Function::ThresholdedRelu {
        alpha: node.float("alpha").unwrap_or(1.0),
    };
}

/// `Gelu`, by the error function or its approximation.
pub(super) const GELU: Operator = Operator {
    domain: "",
    name: "Gelu",
    attributes: &["approximate"],
    build: |_, node| match Attributes(node).text("approximate")? {
        None | Some("none") => built(Function::Gelu),
        Some("tanh") => built(Function::FastGelu),
        Some(other) => bail!("attribute 'approximate': unknown '{other}'"),
    },
};

/// `Gelu` of `com.microsoft`.
pub(super) const MICROSOFT_GELU: Operator = Operator { domain: "com.microsoft", attributes: &[], ..GELU };

/// `Gelu` by its approximation, of the sum of its inputs if there are two.
pub(super) const FAST_GELU: Operator = Operator {
    domain: "com.microsoft",
    name: "FastGelu",
    attributes: &[],
    build: |_, node| biased(node, Function::FastGelu),
};

/// `Gelu` of a sum.
pub(super) const BIAS_GELU: Operator = Operator {
    domain: "com.microsoft",
    name: "BiasGelu",
    attributes: &[],
    build: |_, node| biased(node, Function::Gelu),
};

/// Between bounds, of singles.
pub(super) fn clip(low: f32, high: f32) -> ElementWiseOp {
    ElementWiseOp(Box::new(Each(Function::Clip { low, high })), None)
}

#[expect(clippy::unnecessary_wraps, reason = "the type of a builder")]
fn built(function: Function) -> Built {
    Ok((expand(Unary { function, biased: false }), vec![]))
}

#[expect(clippy::unnecessary_wraps, reason = "the type of a builder")]
fn biased(node: &NodeProto, function: Function) -> Built {
    let biased = node.input.get(1).is_some_and(|name| !name.is_empty());
    Ok((expand(Unary { function, biased }), vec![]))
}

/// The node before types are known.
#[derive(Clone, Debug)]
struct Unary {
    function: Function,
    /// Whether a second input is added first.
    biased: bool,
}

impl Unary {
    /// The type of its result, and of what it computes with.
    fn datum(&self, input: DatumType) -> TractResult<DatumType> {
        // Shapes are counted in dimensions, until something is computed that these cannot do.
        if input == TDim::datum_type() && self.keeps_dimensions() {
            return Ok(input);
        }
        let datum = if input == TDim::datum_type() { DatumType::I64 } else { input };
        let whole = datum.is_integer() && function::whole::<i64>(self.function, &mut []);
        ensure!(datum.is_float() || whole, "{:?} of {input:?} is not supported", self.function);
        Ok(datum)
    }
}

impl Unary {
    fn keeps_dimensions(&self) -> bool {
        matches!(self.function, Function::Neg | Function::Ceil | Function::Floor | Function::Round)
    }
}

impl Expansion for Unary {
    fn name(&self) -> StaticName {
        format!("{:?}", self.function).into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1 + usize::from(self.biased))?;
        check_output_arity(outputs, 1)?;
        s.given(&inputs[0].datum_type, move |s, datum| s.equals(&outputs[0].datum_type, self.datum(datum)?))?;
        s.equals(&inputs[0].shape, &outputs[0].shape)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let datum = self.datum(model.outlet_fact(inputs[0])?.datum_type)?;
        let mut wires = wire_cast(prefix, model, &inputs[..1], datum)?;
        if self.biased {
            wires = wire_with_rank_broadcast(
                format!("{prefix}.bias"),
                model,
                tract_core::ops::math::add(),
                &[wires[0], inputs[1]],
            )?;
        }
        if datum == TDim::datum_type() {
            let negative = self.function == Function::Neg;
            let op: Box<dyn TypedOp> = if negative {
                Box::new(tract_core::ops::math::neg())
            } else {
                Box::new(tract_core::ops::identity::Identity)
            };
            return model.wire_node(prefix, op, &wires);
        }
        model.wire_node(prefix, ElementWiseOp(Box::new(Each(self.function)), None), &wires)
    }
}

/// The node in a plan.
#[derive(Clone, Debug, PartialEq)]
struct Each(Function);

// Its parameters are those of a file; none is NaN where that would matter, and two with a NaN are merely not merged.
impl Eq for Each {}

impl ElementWiseMiniOp for Each {
    fn name(&self) -> String {
        format!("{:?}", self.0)
    }

    fn eval_in_place(&self, tensor: &mut Tensor, datum: Option<DatumType>) -> TractResult<()> {
        let found = tensor.datum_type();
        ensure!(datum.is_none_or(|datum| datum == found), "{:?} of {found:?} for {datum:?}", self.0);
        let mut plain = tensor.try_as_plain_ram_mut()?;
        let computed = match found {
            DatumType::F32 => {
                function::singles(self.0, plain.as_slice_mut()?);
                true
            }
            DatumType::F64 => {
                function::doubles(self.0, plain.as_slice_mut()?);
                true
            }
            DatumType::F16 => {
                function::halves(self.0, plain.as_slice_mut()?);
                true
            }
            DatumType::I8 => function::whole::<i8>(self.0, plain.as_slice_mut()?),
            DatumType::I16 => function::whole::<i16>(self.0, plain.as_slice_mut()?),
            DatumType::I32 => function::whole::<i32>(self.0, plain.as_slice_mut()?),
            DatumType::I64 => function::whole::<i64>(self.0, plain.as_slice_mut()?),
            DatumType::U8 => function::whole::<u8>(self.0, plain.as_slice_mut()?),
            DatumType::U16 => function::whole::<u16>(self.0, plain.as_slice_mut()?),
            DatumType::U32 => function::whole::<u32>(self.0, plain.as_slice_mut()?),
            DatumType::U64 => function::whole::<u64>(self.0, plain.as_slice_mut()?),
            _ => false,
        };
        ensure!(computed, "{:?} of {found:?} is not supported", self.0);
        Ok(())
    }
}
