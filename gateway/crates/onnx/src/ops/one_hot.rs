//! `OneHotEncoder` of `ai.onnx.ml`: a column for each category.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::invalid::invalid;
use super::kernel::{Kernel, ML, Operator, Spec, built};
use super::values::{is_numeric, room, strings, tensor, values};
use crate::rows::{Inputs, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: ML,
    name: "OneHotEncoder",
    attributes: &["cats_int64s", "cats_strings", "zeros"],
    build: |_, node| {
        let attributes = Attributes(node);
        let (names, ints) = (attributes.strings("cats_strings")?, attributes.ints("cats_int64s"));
        ensure!(names.is_empty() != ints.is_empty(), "expected one of 'cats_int64s' and 'cats_strings'");
        let count = names.len().max(ints.len());
        // Of equal ones the first counts.
        let indices = || (0..count).rev();
        let categories = if names.is_empty() {
            Categories::Ints(ints.iter().copied().rev().zip(indices()).collect())
        } else {
            Categories::Strings(names.into_iter().rev().zip(indices()).collect())
        };
        let zeros = attributes.int("zeros").unwrap_or(1) != 0;
        built(node, Arc::new(OneHot { categories, count, zeros }))
    },
};

#[derive(Debug)]
enum Categories {
    Ints(HashMap<i64, usize>),
    Strings(HashMap<String, usize>),
}

#[derive(Debug)]
struct OneHot {
    categories: Categories,
    count: usize,
    /// Whether an unknown value is all zeros; else it is an error.
    zeros: bool,
}

impl Kernel for OneHot {
    fn name(&self) -> &'static str {
        "OneHotEncoder"
    }

    fn checks(&self) -> &[usize] {
        &[0]
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        match self.categories {
            Categories::Ints(_) => ensure!(is_numeric(input.datum), "expected numbers, got {:?}", input.datum),
            Categories::Strings(_) => {
                ensure!(input.datum == String::datum_type(), "expected texts, got {:?}", input.datum);
            }
        }
        let mut shape = input.shape.clone();
        shape.push(self.count.to_dim());
        Ok(tvec!(Spec::new::<f32>(shape)))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.except(|_| false, "")
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = &*inputs[0];
        let mut out = vec![0.0f32; room(input.len(), self.count)?];
        let mut set = |index: usize, category: Option<&usize>| {
            if let Some(&category) = category {
                out[index * self.count + category] = 1.0;
            } else if !self.zeros {
                let message = "it is none of the categories that the model knows";
                return Err(invalid(0, Some(index), message.to_owned()));
            }
            Ok(())
        };
        match &self.categories {
            Categories::Ints(indices) => {
                let values = values::<i64>(input)?;
                values.iter().enumerate().try_for_each(|(index, value)| set(index, indices.get(value)))?;
            }
            Categories::Strings(indices) => {
                let values = strings(input)?;
                values.iter().enumerate().try_for_each(|(index, value)| set(index, indices.get(value)))?;
            }
        }
        let mut shape: TVec<usize> = input.shape().into();
        shape.push(self.count);
        Ok(tvec!(tensor(&shape, out)?))
    }
}
