//! `Cast` and `Equal` where texts take part; tract's own do the rest.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::decimal::{read_float, read_int, write_float};
use super::invalid::invalid;
use super::kernel::{Kernel, KernelOp, Operator, Spec, wire_kernel};
use super::stock::stock;
use super::string_concat::pairs;
use super::values::{tensor, texts, values};

pub(super) const CAST: Operator = Operator {
    domain: "",
    name: "Cast",
    attributes: &["saturate", "to"],
    build: |ctx, node| {
        // 8 is the code for texts.
        let to = Attributes(node).int("to").context("attribute 'to' is not given")?;
        if to == 8 {
            return Ok((expand(Either { stock: None, texts: Arc::new(ToText) }), vec![]));
        }
        let stock = stock(ctx, node)?;
        let wanted = match to {
            1 => DatumType::F32,
            11 => DatumType::F64,
            6 => DatumType::I32,
            7 => DatumType::I64,
            9 => DatumType::Bool,
            _ => return Ok((Box::new(stock), vec![])),
        };
        Ok((expand(Either { stock: Some(stock), texts: Arc::new(FromText(wanted)) }), vec![]))
    },
};

pub(super) const EQUAL: Operator = Operator {
    domain: "",
    name: "Equal",
    attributes: &["axis", "broadcast"],
    build: |ctx, node| Ok((expand(Either { stock: Some(stock(ctx, node)?), texts: Arc::new(EqualTexts) }), vec![])),
};

/// One operator for texts, another for the rest.
#[derive(Clone, Debug)]
struct Either {
    /// `None` if `texts` is for all.
    stock: Option<Box<dyn Expansion>>,
    texts: Arc<dyn Kernel>,
}

impl Expansion for Either {
    fn name(&self) -> StaticName {
        self.texts.name().into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        s.given_all(inputs.iter().map(|input| &input.datum_type), move |s, types| match &self.stock {
            Some(stock) if types.iter().all(|&datum| datum != String::datum_type()) => stock.rules(s, inputs, outputs),
            _ => KernelOp::new(Arc::clone(&self.texts)).rules(s, inputs, outputs),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let types = inputs.iter().map(|&input| Ok(model.outlet_fact(input)?.datum_type));
        let types = types.collect::<TractResult<TVec<_>>>()?;
        match &self.stock {
            Some(stock) if types.iter().all(|&datum| datum != String::datum_type()) => {
                stock.wire(prefix, model, inputs)
            }
            _ => wire_kernel(KernelOp::new(Arc::clone(&self.texts)), prefix, model, inputs),
        }
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
        Ok(tvec!(Spec::of::<String>(input.shape.clone())))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &*inputs[0];
        let written: Vec<String> = match input.datum_type() {
            DatumType::String => texts(input)?.to_vec(),
            DatumType::F32 => values::<f32>(input)?.iter().map(|&value| write_float(value.into(), 8)).collect(),
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

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (shape, input) = (inputs[0].shape(), texts(&inputs[0])?);
        Ok(tvec!(match self.0 {
            DatumType::F64 => tensor(shape, read(input, read_float)?)?,
            DatumType::F32 => tensor(shape, read(input, |text| Ok(read_float(text)? as f32))?)?,
            DatumType::I32 => tensor(shape, read(input, |text| Ok(i32::try_from(read_int(text)?)?))?)?,
            DatumType::Bool => tensor(shape, read(input, |text| Ok(read_int(text)? != 0))?)?,
            _ => tensor(shape, read(input, read_int)?)?,
        }))
    }
}

/// Reads each text; one that cannot be read is the caller's to mend.
fn read<T>(texts: &[String], read: impl Fn(&str) -> TractResult<T>) -> TractResult<Vec<T>> {
    let each = texts.iter().enumerate();
    each.map(|(position, text)| read(text).map_err(|error| invalid(0, Some(position), error.to_string()))).collect()
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
        Ok(tvec!(Spec::of::<bool>(tract_core::broadcast::multi_broadcast(&[&one.shape, &other.shape])?)))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        pairs(&inputs[0], &inputs[1], |one, other| one == other)
    }
}
