//! `NonZero`: the indices of all values that are not zero.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::kernel::{Kernel, Operator, Spec, built};
use super::pick::each_coordinate;
use super::values::{is_numeric, tensor};
use crate::rows::{Inputs, NUMBERS, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: "",
    name: "NonZero",
    attributes: &[],
    build: |ctx, node| {
        let count = ctx.template.symbols.new_with_prefix("modelgate_nonzero").to_dim();
        built(node, Arc::new(NonZero { count }))
    },
};

#[derive(Debug)]
struct NonZero {
    /// The count, which is not known before it runs.
    count: TDim,
}

impl Kernel for NonZero {
    fn name(&self) -> &'static str {
        "NonZero"
    }

    fn opens_sizes(&self) -> bool {
        true
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [data] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(is_numeric(data.datum), "values of type {:?} are not supported", data.datum);
        // A single value counts as a list of one.
        Ok(tvec!(Spec::new::<i64>([data.shape.len().max(1).to_dim(), self.count.clone()])))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let _ = inputs;
        Err(NUMBERS.into())
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [data] = inputs else { bail!("expected 1 input") };
        let datum = data.datum_type();
        let found = dispatch_datum!(non_zero(datum)(data))?;
        let mut indices = found.iter();
        let shape = if data.rank() == 0 { &[1] } else { data.shape() };
        let mut at = vec![Vec::with_capacity(found.len()); shape.len()];
        let (mut next, mut position) = (indices.next(), 0);
        each_coordinate(shape, |coordinates| {
            if next == Some(&position) {
                at.iter_mut().zip(coordinates).for_each(|(list, &index)| list.push(index as i64));
                next = indices.next();
            }
            position += 1;
            Ok(())
        })?;
        Ok(tvec!(tensor(&[shape.len(), found.len()], at.concat())?))
    }
}

/// The positions of all values that are not zero.
fn non_zero<T: Datum>(data: &Tensor) -> TractResult<Vec<usize>> {
    let zero = T::default();
    let plain = data.try_as_plain_ram()?;
    let values = plain.as_slice::<T>()?.iter().enumerate();
    Ok(values.filter(|(_, value)| **value != zero).map(|(position, _)| position).collect())
}
