//! `SVMRegressor` of `ai.onnx.ml`, and one-class machines, which answer 1 or -1.

use std::sync::Arc;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::super::attributes::Attributes;
use super::super::kernel::{Kernel, ML, Operator, Spec, built, matrix};
use super::super::values::{is_numeric, tensor, values};
use super::kernel_function::KernelFunction;
use crate::rows::{Inputs, Outcome};

pub(in super::super) const OPERATOR: Operator = Operator {
    domain: ML,
    name: "SVMRegressor",
    attributes: &[
        "coefficients",
        "kernel_params",
        "kernel_type",
        "n_supports",
        "one_class",
        "post_transform",
        "rho",
        "support_vectors",
    ],
    build: |_, node| built(node, Arc::new(parse(node)?)),
};

fn parse(node: &NodeProto) -> TractResult<Regressor> {
    let node = Attributes(node);
    let supports =
        usize::try_from(node.int("n_supports").unwrap_or(0)).context("attribute 'n_supports' is negative")?;
    let coefficients = node.floats("coefficients").to_vec();
    let vectors = node.floats("support_vectors").to_vec();
    let &[rho, ..] = node.floats("rho") else { bail!("attribute 'rho' is not given") };
    let mut function = KernelFunction::read(node)?;
    // Without support vectors, the coefficients are the weights of the features.
    let (width, vectors, coefficients) = if supports == 0 {
        function = KernelFunction::Linear;
        (coefficients.len(), coefficients, vec![1.0])
    } else {
        ensure!(coefficients.len() == supports, "{} coefficients for {supports} support vectors", coefficients.len());
        let width = vectors.len() / supports;
        ensure!(width > 0 && width * supports == vectors.len(), "the support vectors are no matrix");
        (width, vectors, coefficients)
    };
    ensure!(width > 0, "attribute 'coefficients' is not given");
    let one_class = node.int("one_class").unwrap_or(0) != 0;
    Ok(Regressor { width, vectors, coefficients, rho, function, one_class })
}

#[derive(Debug)]
struct Regressor {
    width: usize,
    vectors: Vec<f32>,
    coefficients: Vec<f32>,
    rho: f32,
    function: KernelFunction,
    one_class: bool,
}

impl Kernel for Regressor {
    fn name(&self) -> &'static str {
        "SVMRegressor"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(is_numeric(input.datum), "expected numbers, got {:?}", input.datum);
        let (rows, width) = input.matrix()?;
        ensure!(width.to_usize().map_or(true, |width| width == self.width), "expected {} features", self.width);
        Ok(tvec!(Spec::new::<f32>([rows, 1.to_dim()])))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.by_row()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (rows, width) = matrix(&inputs[0])?;
        ensure!(width == self.width, "expected {} features, got {width}", self.width);
        let values = values::<f32>(&inputs[0])?;
        let answers = values.chunks_exact(width).map(|row| {
            let terms = self.vectors.chunks_exact(width).zip(&self.coefficients);
            let sum: f64 = terms
                .map(|(vector, &coefficient)| f64::from(coefficient) * f64::from(self.function.value(row, vector)))
                .sum();
            let sum = (sum + f64::from(self.rho)) as f32;
            match self.one_class {
                true if sum > 0.0 => 1.0,
                true => -1.0,
                false => sum,
            }
        });
        Ok(tvec!(tensor(&[rows, 1], answers.collect())?))
    }

    fn bytes(&self) -> usize {
        size_of_val(self.vectors.as_slice())
    }
}
