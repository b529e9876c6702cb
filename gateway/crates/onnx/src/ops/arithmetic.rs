//! Arithmetic of two and more arguments. Dimensions, with which tract computes shapes, stay with tract's own operators.

mod pairs;
mod restored;

use tract_onnx::model::optional_inputs;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::broadcast::multi_broadcast;
use tract_onnx::tract_hir::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_hir::tract_core::ops::cast::wire_cast;
use tract_onnx::tract_hir::tract_core::ops::change_axes::wire_rank_broadcast;
use tract_onnx::tract_hir::tract_core::ops::math;
use tract_onnx::tract_hir::tract_core::tract_linalg::BinOp;

use self::pairs::{Function, Pairs, Plain, is_supported};
pub(in super::super) use self::restored::restore;
use super::attributes::Attributes;
use super::kernel::{Built, Operator};

const ADD: Step = Step::Plain(|| Box::new(math::Add));
const SUB: Step = Step::Plain(|| Box::new(math::Sub));
const MUL: Step = Step::Plain(|| Box::new(math::Mul));

/// Operators of tract's of old opsets bring attributes that no newer one has.
const OLD: &[&str] = &["axis", "broadcast"];

macro_rules! operators {
    ($($constant:ident $name:literal $attributes:expr, $step:expr;)*) => {
        $(pub(super) const $constant: Operator = Operator {
            domain: "",
            name: $name,
            attributes: $attributes,
            build: |_, node| chain(node, $step, false),
        };)*
    };
}
operators! {
    SUM "Sum" &[], ADD;
    MAX "Max" &[], Step::Pairs(Function::Max);
    MIN "Min" &[], Step::Pairs(Function::Min);
    ADDITION "Add" OLD, ADD;
    SUBTRACTION "Sub" OLD, SUB;
    MULTIPLICATION "Mul" OLD, MUL;
    DIVISION "Div" OLD, Step::Pairs(Function::Div);
    POWER "Pow" OLD, Step::Pairs(Function::Pow);
    PRELU "PRelu" &[], Step::Pairs(Function::PRelu);
}

pub(super) const MEAN: Operator =
    Operator { domain: "", name: "Mean", attributes: &[], build: |_, node| chain(node, ADD, true) };

pub(super) const MODULO: Operator = Operator {
    domain: "",
    name: "Mod",
    attributes: &["fmod"],
    build: |_, node| {
        let fmod = Attributes(node).int("fmod").unwrap_or(0) != 0;
        chain(node, Step::Pairs(if fmod { Function::Fmod } else { Function::Mod }), false)
    },
};

pub(super) const BIT_SHIFT: Operator = Operator {
    domain: "",
    name: "BitShift",
    attributes: &["direction"],
    build: |_, node| match Attributes(node).text("direction")? {
        Some("LEFT") => chain(node, Step::Pairs(Function::ShiftLeft), false),
        Some("RIGHT") => chain(node, Step::Pairs(Function::ShiftRight), false),
        other => bail!("attribute 'direction': unknown {other:?}"),
    },
};

pub(super) const RELU: Operator =
    Operator { domain: "", name: "Relu", attributes: &[], build: |_, _| clip([Some(0.0), None], [None, None], false) };

pub(super) const CLIP: Operator = Operator {
    domain: "",
    name: "Clip",
    attributes: &["max", "min"],
    build: |_, node| {
        let mut inputs = optional_inputs(node).skip(1);
        let indices = [inputs.next().flatten(), inputs.next().flatten()];
        clip([Attributes(node).float("min"), Attributes(node).float("max")], indices, true)
    },
};

/// A product that is not a number where a factor is none.
pub(super) fn multiplied() -> TypedBinOp {
    TypedBinOp(Box::new(Plain(Box::new(math::Mul))), None)
}

/// A sum, likewise.
pub(super) fn added() -> TypedBinOp {
    TypedBinOp(Box::new(Plain(Box::new(math::Add))), None)
}

fn chain(node: &NodeProto, step: Step, mean: bool) -> Built {
    ensure!(!node.input.is_empty(), "{} without inputs", node.op_type);
    Ok((expand(Chain { name: node.op_type.clone(), step, mean }), vec![]))
}

#[expect(clippy::unnecessary_wraps, reason = "the type of a builder")]
fn clip(bounds: [Option<f32>; 2], inputs: [Option<usize>; 2], finite: bool) -> Built {
    Ok((expand(Clip { bounds, inputs, finite }), vec![]))
}

/// One of the operators that a chain is made of.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// tract's own.
    Plain(fn() -> Box<dyn BinMiniOp>),
    Pairs(Function),
}

impl Step {
    fn op(self, model: &TypedModel, inputs: &[OutletId], datum: DatumType) -> TractResult<TypedBinOp> {
        let op: Box<dyn BinMiniOp> = match self {
            Self::Plain(op) if datum == TDim::datum_type() => op(),
            Self::Plain(op) => Box::new(Plain(op())),
            Self::Pairs(function) if datum == TDim::datum_type() => match function {
                Function::Div => Box::new(math::Div),
                Function::Mod | Function::Fmod => Box::new(math::Rem),
                Function::Max | Function::AtLeast => Box::new(math::Max),
                Function::Min | Function::AtMost => Box::new(math::Min),
                _ => bail!("{function:?} of dimensions is not supported"),
            },
            Self::Pairs(function) => Box::new(Pairs { function, fused: fused(model, inputs, function)? }),
        };
        Ok(TypedBinOp(op, None))
    }

    /// The type of a result of these types.
    fn datum(self, types: &[DatumType]) -> TractResult<DatumType> {
        if matches!(self, Self::Pairs(Function::Pow)) && !types.contains(&TDim::datum_type()) {
            return Ok(types[0]);
        }
        let datum = DatumType::super_type_for(types).with_context(|| format!("no type for {types:?}"))?;
        let known = is_supported(datum) || datum == TDim::datum_type();
        ensure!(known, "{datum:?} is not supported");
        Ok(datum)
    }
}

/// As part of a product, a maximum keeps the NaN of the product, but not one that it is compared with.
fn fused(model: &TypedModel, inputs: &[OutletId], function: Function) -> TractResult<Option<BinOp>> {
    let fused = match function {
        Function::AtLeast => return Ok(Some(BinOp::Max)),
        Function::AtMost => return Ok(Some(BinOp::Min)),
        Function::Max => BinOp::Max,
        Function::Min => BinOp::Min,
        _ => return Ok(None),
    };
    for &input in inputs {
        let Some(constant) = &model.outlet_fact(input)?.konst else { continue };
        if constant.datum_type().is_float() {
            let values = constant.cast_to::<f64>()?;
            let is_number = values.try_as_plain_ram()?.as_slice::<f64>()?.iter().all(|value| !value.is_nan());
            return Ok(is_number.then_some(fused));
        }
    }
    Ok(None)
}

/// `op` of the first and second, then of that and the third, and so on.
#[derive(Clone, Debug)]
struct Chain {
    name: String,
    step: Step,
    /// Whether the sum is divided by the number of inputs.
    mean: bool,
}

impl Expansion for Chain {
    fn name(&self) -> StaticName {
        self.name.clone().into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_output_arity(outputs, 1)?;
        s.given_all(inputs.iter().map(|input| &input.datum_type), move |s, types| {
            s.equals(&outputs[0].datum_type, self.step.datum(&types)?)
        })?;
        s.given_all(inputs.iter().map(|input| &input.shape), move |s, shapes: Vec<TVec<TDim>>| {
            s.equals(&outputs[0].shape, ShapeFactoid::from(multi_broadcast(&shapes)?))
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let types = inputs.iter().map(|&input| Ok(model.outlet_fact(input)?.datum_type));
        let types = types.collect::<TractResult<Vec<_>>>()?;
        let datum = self.step.datum(&types)?;
        // A power of other types is one of doubles; halves are summed as singles.
        let wide = if datum == DatumType::F16 && matches!(self.step, Step::Plain(_)) && inputs.len() > 2 {
            DatumType::F32
        } else if types.iter().all(|&each| each == datum || each == TDim::datum_type()) || datum == TDim::datum_type() {
            datum
        } else if matches!(self.step, Step::Pairs(Function::Pow)) {
            DatumType::F64
        } else {
            datum
        };
        let inputs = wire_cast(prefix, model, inputs, wide)?;
        let inputs = wire_rank_broadcast(prefix, model, &inputs)?;
        let mut wire = inputs[0];
        for (index, &input) in inputs.iter().enumerate().skip(1) {
            let name =
                if index == 1 && !self.mean && wide == datum { prefix.to_owned() } else { format!("{prefix}.{index}") };
            let op = self.step.op(model, &[wire, input], wide)?;
            wire = model.wire_node(name, op, &[wire, input])?[0];
        }
        if self.mean {
            let count = tensor0(inputs.len() as f64).cast_to_dt(wide)?.into_owned();
            let count = count.broadcast_into_rank(model.outlet_fact(wire)?.rank())?;
            let count = model.add_const(format!("{prefix}.count"), count)?;
            let op = Step::Pairs(Function::Div).op(model, &[wire, count], wide)?;
            wire = model.wire_node(format!("{prefix}.mean"), op, &[wire, count])?[0];
        }
        wire_cast(format!("{prefix}.back"), model, &[wire], datum)
    }
}

/// Between bounds, of which each may be left out, or given by an attribute or an input.
#[derive(Clone, Debug)]
struct Clip {
    bounds: [Option<f32>; 2],
    /// The places of the inputs.
    inputs: [Option<usize>; 2],
    /// Whether a bound that is left out is the least or greatest finite number, as the standard has it.
    finite: bool,
}

/// The least or greatest finite number of a type.
fn extreme(datum: DatumType, greatest: bool) -> Option<Tensor> {
    let sign = if greatest { 1.0 } else { -1.0 };
    match datum {
        DatumType::F16 => Some(tensor0(if greatest { f16::MAX } else { f16::MIN })),
        DatumType::F32 => Some(tensor0(sign as f32 * f32::MAX)),
        DatumType::F64 => Some(tensor0(sign * f64::MAX)),
        _ => None,
    }
}

impl Expansion for Clip {
    fn name(&self) -> StaticName {
        "Clip".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        s.equals(&inputs[0].shape, &outputs[0].shape)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let fact = model.outlet_fact(inputs[0])?.clone();
        let mut wire = inputs[0];
        for (index, function) in [Function::AtLeast, Function::AtMost].into_iter().enumerate() {
            let name = format!("{prefix}.{}", ["least", "most"][index]);
            let bound = match (self.inputs[index], self.bounds[index]) {
                (Some(input), _) => inputs[input],
                (None, Some(bound)) => {
                    let bound = tensor0(bound).cast_to_dt(fact.datum_type)?.into_owned();
                    model.add_const(format!("{name}.bound"), bound)?
                }
                (None, None) => match extreme(fact.datum_type, index == 1).filter(|_| self.finite) {
                    Some(bound) => model.add_const(format!("{name}.bound"), bound)?,
                    None => continue,
                },
            };
            let bound = wire_cast(&name, model, &[bound], fact.datum_type)?[0];
            let wires = wire_rank_broadcast(&name, model, &[wire, bound])?;
            let op = Step::Pairs(function).op(model, &wires, fact.datum_type)?;
            wire = model.wire_node(name, op, &wires)?[0];
        }
        if wire == inputs[0] {
            let op = tract_core::ops::identity::Identity;
            return model.wire_node(prefix, op, &[wire]);
        }
        Ok(tvec!(wire))
    }
}
