//! `StringConcat`: joins texts one by one, broadcasting.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::tract_core::broadcast::multi_broadcast;
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Kernel, Operator, Spec, built};
use super::values::strings;
use crate::rows::{Inputs, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: "",
    name: "StringConcat",
    attributes: &[],
    build: |_, node| built(node, Arc::new(StringConcat)),
};

#[derive(Debug)]
struct StringConcat;

impl Kernel for StringConcat {
    fn name(&self) -> &'static str {
        "StringConcat"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [one, other] = inputs else { bail!("expected 2 inputs, got {}", inputs.len()) };
        ensure!([one, other].iter().all(|input| input.datum == String::datum_type()), "expected texts");
        Ok(tvec!(Spec::new::<String>(multi_broadcast(&[&one.shape, &other.shape])?)))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.elementwise()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        pairs(&inputs[0], &inputs[1], |one, other| format!("{one}{other}"))
    }
}

/// Applies `join` to each pair of texts, broadcasting.
pub(super) fn pairs<T: Datum>(
    one: &Tensor,
    other: &Tensor,
    join: impl Fn(&str, &str) -> T,
) -> TractResult<TVec<TValue>> {
    let shape = multi_broadcast(&[one.shape(), other.shape()])?;
    let one = tract_ndarray::ArrayViewD::from_shape(one.shape(), strings(one)?)?;
    let other = tract_ndarray::ArrayViewD::from_shape(other.shape(), strings(other)?)?;
    let (Some(one), Some(other)) = (one.broadcast(&*shape), other.broadcast(&*shape)) else {
        bail!("the shapes {:?} and {:?} do not broadcast", one.shape(), other.shape());
    };
    let joined = one.iter().zip(&other).map(|(one, other)| join(one, other)).collect();
    Ok(tvec!(super::values::tensor(&shape, joined)?))
}
