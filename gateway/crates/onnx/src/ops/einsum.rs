//! `Einsum`. A product of two, with a place for each letter once in each, is tract's to lower; ours is for all the rest:
//! whole numbers, diagonals, spread sizes, three and more factors.

mod equation;
mod sums;

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::cast::wire_cast;
use tract_onnx::tract_hir::tract_core::ops::einsum::EinSum;

use self::equation::{Equation, Letters};
use self::sums::Number;
use super::attributes::Attributes;
use super::barrier::hide;
use super::kernel::{Kernel, KernelOp, Operator, Spec};
use crate::rows::{Along, Inputs, MEETS, MIXES, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: "",
    name: "Einsum",
    attributes: &["equation"],
    build: |_, node| {
        let equation = Attributes(node).text("equation")?.context("attribute 'equation' is not given")?;
        Ok((expand(Parsed(Equation::parse(equation)?)), vec![]))
    },
};

/// The node before shapes are known.
#[derive(Clone, Debug)]
struct Parsed(Equation);

impl Expansion for Parsed {
    fn name(&self) -> StaticName {
        "Einsum".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_output_arity(outputs, 1)?;
        s.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        s.given_all(inputs.iter().map(|input| &input.shape), move |s, shapes: Vec<TVec<TDim>>| {
            let ranks: Vec<usize> = shapes.iter().map(TVec::len).collect();
            let letters = self.0.letters(&ranks)?;
            let shapes: Vec<&[TDim]> = shapes.iter().map(|shape| &**shape).collect();
            s.equals(&outputs[0].shape, ShapeFactoid::from(shape(&letters, &shapes)?))
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let facts = inputs.iter().map(|&input| Ok(model.outlet_fact(input)?.clone()));
        let facts = facts.collect::<TractResult<Vec<TypedFact>>>()?;
        let ranks: Vec<usize> = facts.iter().map(TypedFact::rank).collect();
        let letters = self.0.letters(&ranks)?;
        let datum = facts[0].datum_type;
        if !(datum.is_float() && is_plain(&letters, &facts)) {
            return model.wire_node(prefix, KernelOp::new(Arc::new(Sums { letters, datum })), inputs);
        }
        // Halves would be summed as halves.
        let wide = if datum == DatumType::F16 { DatumType::F32 } else { datum };
        let inputs = hide(prefix, model, inputs)?;
        let inputs = wire_cast(prefix, model, &inputs, wide)?;
        let product = EinSum::new(letters.text().parse()?, wide);
        let product = model.wire_node(prefix, product, &inputs)?;
        wire_cast(format!("{prefix}.back"), model, &product, datum)
    }
}

/// Whether it is a product as tract knows it: of two, each letter once in each and of the same size.
fn is_plain(letters: &Letters, facts: &[TypedFact]) -> bool {
    if facts.len() != 2 {
        return false;
    }
    let once = |letters: &[char]| letters.iter().enumerate().all(|(index, letter)| !letters[..index].contains(letter));
    let agree = letters.inputs[0].iter().enumerate().all(|(index, letter)| {
        let other = letters.inputs[1].iter().position(|other| other == letter);
        other.is_none_or(|other| facts[0].shape[index] == facts[1].shape[other])
    });
    let known = |letter: &char| letters.inputs.iter().any(|input| input.contains(letter));
    once(&letters.inputs[0]) && once(&letters.inputs[1]) && once(&letters.output) && agree
        && letters.output.iter().all(known)
        // One that is in neither the result nor the other input is summed before: not what tract calls a product.
        && letters.inputs.iter().enumerate().all(|(at, input)| {
            input.iter().all(|letter| letters.output.contains(letter) || letters.inputs[1 - at].contains(letter))
        })
        && facts.iter().all(|fact| fact.shape.iter().all(|dim| *dim != 0.to_dim()))
}

/// The size of each letter: of two, that which is not 1.
fn size(letters: &Letters, shapes: &[&[TDim]], wanted: char) -> TractResult<TDim> {
    let mut found: Option<TDim> = None;
    for (input, shape) in letters.inputs.iter().zip(shapes) {
        for (letter, dim) in input.iter().zip(*shape) {
            if *letter == wanted && found.as_ref().is_none_or(TDim::is_one) {
                found = Some(dim.clone());
            }
        }
    }
    found.with_context(|| format!("'{wanted}' has no size"))
}

fn shape(letters: &Letters, shapes: &[&[TDim]]) -> TractResult<TVec<TDim>> {
    letters.output.iter().map(|&letter| size(letters, shapes, letter)).collect()
}

/// Wires an equation.
pub(super) fn wire(
    equation: &str,
    prefix: &str,
    model: &mut TypedModel,
    inputs: &[OutletId],
) -> TractResult<TVec<OutletId>> {
    Parsed(Equation::parse(equation)?).wire(prefix, model, inputs)
}

/// A product of whole numbers by its equation.
pub(super) fn product_of_whole(equation: &str, ranks: &[usize], datum: DatumType) -> TractResult<impl Kernel> {
    Ok(Sums { letters: Equation::parse(equation)?.letters(ranks)?, datum })
}

/// All sums, one after the other.
#[derive(Debug)]
struct Sums {
    letters: Letters,
    datum: DatumType,
}

impl Kernel for Sums {
    fn name(&self) -> &'static str {
        "Einsum"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        ensure!(inputs.iter().all(|input| input.datum == self.datum), "inputs of different types");
        ensure!(self.datum.is_float() || self.datum.is_integer(), "{:?} is not supported", self.datum);
        let shapes: Vec<&[TDim]> = inputs.iter().map(|input| &*input.shape).collect();
        Ok(tvec!(Spec { datum: self.datum, shape: shape(&self.letters, &shapes)? }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let mut found: Option<(char, &Along)> = None;
        for (slot, along) in inputs.with_rows()? {
            let letters = self.letters.inputs.get(slot).ok_or(MIXES)?;
            let letter = *letters.get(along.axis).ok_or(MIXES)?;
            if letters.iter().filter(|&&other| other == letter).count() != 1 {
                return Err(MEETS.into());
            }
            let is_other = |(other, found): (char, &Along)| {
                other != letter || (&found.outer, &found.inner) != (&along.outer, &along.inner)
            };
            if found.is_some_and(is_other) {
                return Err("multiplies rows by rows".into());
            }
            found = Some((letter, along));
        }
        let (letter, along) = found.ok_or(MIXES)?;
        let index = self.letters.output.iter().position(|&other| other == letter);
        Ok(tvec!(along.on(index.ok_or("multiplies and sums over the rows")?)))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let out = match self.datum {
            DatumType::F64 => f64::sum(&self.letters, inputs)?,
            DatumType::F32 => f32::sum(&self.letters, inputs)?,
            DatumType::F16 => f32::sum(&self.letters, inputs)?.cast_to::<f16>()?.into_owned().into(),
            DatumType::I64 => i64::sum(&self.letters, inputs)?,
            DatumType::U64 => u64::sum(&self.letters, inputs)?,
            // Wraps around as the type itself does.
            datum => i64::sum(&self.letters, inputs)?.cast_to_dt(datum)?.into_owned().into(),
        };
        Ok(tvec!(out))
    }
}
