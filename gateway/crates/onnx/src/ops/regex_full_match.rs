//! `RegexFullMatch`: whether a text matches a pattern as a whole.

use std::sync::Arc;

use regex::Regex;
use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, Operator, Spec, built};
use super::pattern::compile_whole;
use super::values::{strings, tensor};
use crate::rows::{Inputs, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: "",
    name: "RegexFullMatch",
    attributes: &["pattern"],
    build: |_, node| {
        let pattern = Attributes(node).text("pattern")?.context("attribute 'pattern' is not given")?;
        built(node, Arc::new(FullMatch(compile_whole(pattern)?)))
    },
};

#[derive(Debug)]
struct FullMatch(Regex);

impl Kernel for FullMatch {
    fn name(&self) -> &'static str {
        "RegexFullMatch"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(input.datum == String::datum_type(), "expected texts, got {:?}", input.datum);
        Ok(tvec!(Spec::new::<bool>(input.shape.clone())))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.elementwise()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let found = strings(&inputs[0])?.iter().map(|text| self.0.is_match(text)).collect();
        Ok(tvec!(tensor(inputs[0].shape(), found)?))
    }
}
