//! `Cast` and `Equal` where texts take part; tract's own do the rest.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cast::wire_cast;

use super::attributes::Attributes;
use super::decimal::{read_float, read_int, write_float};
use super::equality::equality;
use super::invalid::invalid;
use super::kernel::{Kernel, KernelOp, Operator, Spec, wire_kernel};
use super::string_concat::pairs;
use super::values::{strings, tensor, values};
use crate::rows::{Inputs, Outcome};

pub(super) const CAST: Operator = Operator {
    domain: "",
    name: "Cast",
    attributes: &["saturate", "to"],
    build: |_, node| {
        // 8 is the code for texts.
        let to = Attributes(node).int("to").context("attribute 'to' is not given")?;
        if to == 8 {
            return Ok((expand(Either { builtin: None, strings: Arc::new(ToText) }), vec![]));
        }
        let wanted = match to {
            1 => DatumType::F32,
            2 => DatumType::U8,
            3 => DatumType::I8,
            4 => DatumType::U16,
            5 => DatumType::I16,
            6 => DatumType::I32,
            7 => DatumType::I64,
            9 => DatumType::Bool,
            10 => DatumType::F16,
            11 => DatumType::F64,
            12 => DatumType::U32,
            13 => DatumType::U64,
            other => bail!("values of the type {other} are not supported"),
        };
        let numbers: Box<dyn Expansion> = Box::new(Numbers(wanted));
        Ok((expand(Either { builtin: Some(numbers), strings: Arc::new(FromText(wanted)) }), vec![]))
    },
};

pub(super) const EQUAL: Operator = Operator {
    domain: "",
    name: "Equal",
    attributes: &["axis", "broadcast"],
    build: |_, _| Ok((expand(Either { builtin: Some(equality()), strings: Arc::new(EqualTexts) }), vec![])),
};

/// One operator for texts, another for the rest.
#[derive(Clone, Debug)]
struct Either {
    /// `None` if `texts` is for all.
    builtin: Option<Box<dyn Expansion>>,
    strings: Arc<dyn Kernel>,
}

impl Expansion for Either {
    fn name(&self) -> StaticName {
        self.strings.name().into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        s.given_all(inputs.iter().map(|input| &input.datum_type), move |s, types| match &self.builtin {
            Some(builtin) if types.iter().all(|&datum| datum != String::datum_type()) => {
                builtin.rules(s, inputs, outputs)
            }
            _ => KernelOp::new(Arc::clone(&self.strings)).rules(s, inputs, outputs),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let types = inputs.iter().map(|&input| Ok(model.outlet_fact(input)?.datum_type));
        let types = types.collect::<TractResult<TVec<_>>>()?;
        match &self.builtin {
            Some(builtin) if types.iter().all(|&datum| datum != String::datum_type()) => {
                // tract compares numbers alone.
                let truths = inputs.len() > 1 && types.iter().all(|&datum| datum == bool::datum_type());
                let inputs = if truths { wire_cast(prefix, model, inputs, DatumType::U8)? } else { inputs.into() };
                builtin.wire(prefix, model, &inputs)
            }
            _ => wire_kernel(KernelOp::new(Arc::clone(&self.strings)), prefix, model, inputs),
        }
    }
}

/// Numbers to numbers. Shapes stay in dimensions, which keep the sizes that are not known yet; nothing else becomes one.
#[derive(Clone, Debug)]
struct Numbers(DatumType);

impl Numbers {
    fn datum(&self, input: DatumType) -> DatumType {
        if self.0 == DatumType::I64 && input == TDim::datum_type() { input } else { self.0 }
    }
}

impl Expansion for Numbers {
    fn name(&self) -> StaticName {
        "Cast".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        s.given(&inputs[0].datum_type, move |s, input| s.equals(&outputs[0].datum_type, self.datum(input)))?;
        s.equals(&inputs[0].shape, &outputs[0].shape)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let datum = self.datum(model.outlet_fact(inputs[0])?.datum_type);
        model.wire_node(prefix, tract_core::ops::cast::cast(datum), inputs)
    }
}

#[derive(Debug)]
struct ToText;

impl Kernel for ToText {
    fn name(&self) -> &'static str {
        "Cast"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        Ok(tvec!(Spec::new::<String>(input.shape.clone())))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.elementwise()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &*inputs[0];
        let written: Vec<String> = match input.datum_type() {
            DatumType::String => strings(input)?.to_vec(),
            DatumType::F16 | DatumType::F32 => {
                values::<f32>(input)?.iter().map(|&value| write_float(value.into(), 8)).collect()
            }
            // Doubles too, with the digits of singles.
            DatumType::F64 => values::<f64>(input)?.iter().map(|&value| write_float(value, 8)).collect(),
            DatumType::U64 => values::<u64>(input)?.iter().map(u64::to_string).collect(),
            _ => values::<i64>(input)?.iter().map(i64::to_string).collect(),
        };
        Ok(tvec!(tensor(input.shape(), written)?))
    }
}

#[derive(Debug)]
struct FromText(DatumType);

impl Kernel for FromText {
    fn name(&self) -> &'static str {
        "Cast"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        Ok(tvec!(Spec { datum: self.0, shape: input.shape.clone() }))
    }

    fn checks(&self) -> &[usize] {
        &[0]
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.elementwise()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (shape, input) = (inputs[0].shape(), strings(&inputs[0])?);
        Ok(tvec!(match self.0 {
            DatumType::F64 => tensor(shape, read(input, read_float)?)?,
            DatumType::F32 => tensor(shape, read(input, |text| Ok(read_float(text)? as f32))?)?,
            DatumType::F16 => tensor(shape, read(input, |text| Ok(f16::from_f64(read_float(text)?)))?)?,
            DatumType::Bool => tensor(shape, read(input, |text| Ok(read_int(text)? != 0))?)?,
            DatumType::I8 => whole::<i8>(shape, input)?,
            DatumType::I16 => whole::<i16>(shape, input)?,
            DatumType::I32 => whole::<i32>(shape, input)?,
            DatumType::U8 => whole::<u8>(shape, input)?,
            DatumType::U16 => whole::<u16>(shape, input)?,
            DatumType::U32 => whole::<u32>(shape, input)?,
            DatumType::U64 => whole::<u64>(shape, input)?,
            _ => whole::<i64>(shape, input)?,
        }))
    }
}

/// Reads each text; one that cannot be read is the caller's to mend.
fn read<T>(strings: &[String], read: impl Fn(&str) -> TractResult<T>) -> TractResult<Vec<T>> {
    let each = strings.iter().enumerate();
    each.map(|(position, text)| read(text).map_err(|error| invalid(0, Some(position), error.to_string()))).collect()
}

/// Texts as whole numbers of a type.
fn whole<T: Datum + std::str::FromStr>(shape: &[usize], strings: &[String]) -> TractResult<TValue> {
    let parse = |text: &str| {
        text.trim().parse::<T>().ok().with_context(|| format!("'{text}' is not a whole number of the type"))
    };
    tensor(shape, read(strings, parse)?)
}

#[derive(Debug)]
struct EqualTexts;

impl Kernel for EqualTexts {
    fn name(&self) -> &'static str {
        "Equal"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [one, other] = inputs else { bail!("expected 2 inputs, got {}", inputs.len()) };
        ensure!([one, other].iter().all(|input| input.datum == String::datum_type()), "texts equal only texts");
        Ok(tvec!(Spec::new::<bool>(tract_core::broadcast::multi_broadcast(&[&one.shape, &other.shape])?)))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.elementwise()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        pairs(&inputs[0], &inputs[1], |one, other| one == other)
    }
}
