//! `MatMul` and `Gemm` of one row with constant weights, as networks have at a row a request. tract's own, made for
//! matrices, does the rest.
//!
//! Weights lie by input, and the inputs that are zero are left out: after a Relu or an encoder of categories these are
//! most of them.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, KernelOp, Operator, Spec};
use super::stock::stock;
use super::values::{tensor, values};

pub(super) const MAT_MUL: Operator = Operator {
    domain: "",
    name: "MatMul",
    attributes: &[],
    build: |ctx, node| Ok((expand(Rowwise { stock: stock(ctx, node)?, by_output: Some(false) }), vec![])),
};

pub(super) const GEMM: Operator = Operator {
    domain: "",
    name: "Gemm",
    attributes: &["alpha", "beta", "broadcast", "transA", "transB"],
    build: |ctx, node| {
        let attributes = Attributes(node);
        let is_one = |name: &str| attributes.float(name).is_none_or(|value| value.to_bits() == 1.0f32.to_bits());
        let plain = is_one("alpha") && is_one("beta") && attributes.int("transA").unwrap_or(0) == 0;
        let by_output = plain.then(|| attributes.int("transB").unwrap_or(0) != 0);
        Ok((expand(Rowwise { stock: stock(ctx, node)?, by_output }), vec![]))
    },
};

/// The operator of tract's, and ours where it fits.
#[derive(Clone, Debug)]
struct Rowwise {
    stock: Box<dyn Expansion>,
    /// Whether the weights lie by output; `None` if ours never fits.
    by_output: Option<bool>,
}

impl Expansion for Rowwise {
    fn name(&self) -> StaticName {
        self.stock.name()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.stock.rules(s, inputs, outputs)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        match self.row(model, inputs)? {
            Some(kernel) => model.wire_node(prefix, KernelOp::new(Arc::new(kernel)), &inputs[..1]),
            None => self.stock.wire(prefix, model, inputs),
        }
    }
}

impl Rowwise {
    /// Ours, if there is one row, and weights and bias are constants of singles.
    fn row(&self, model: &TypedModel, inputs: &[OutletId]) -> TractResult<Option<MatVec>> {
        let (Some(by_output), [row, weights, bias @ ..]) = (self.by_output, inputs) else { return Ok(None) };
        let row = model.outlet_fact(*row)?;
        let weights = model.outlet_fact(*weights)?.konst.clone();
        let bias = match bias {
            [bias, ..] => Some(model.outlet_fact(*bias)?.konst.clone()),
            [] => None,
        };
        let (Some(weights), true) = (weights, row.datum_type == f32::datum_type()) else { return Ok(None) };
        let &[first, second] = weights.shape() else { return Ok(None) };
        let (width, outputs) = if by_output { (second, first) } else { (first, second) };
        if *row.shape != [1.to_dim(), width.to_dim()] || weights.datum_type() != f32::datum_type() {
            return Ok(None);
        }
        let bias = match bias {
            None => vec![0.0; outputs],
            Some(Some(bias)) if bias.len() == outputs && bias.datum_type() == f32::datum_type() => {
                values::<f32>(&bias)?.into_owned()
            }
            Some(_) => return Ok(None),
        };
        let given = values::<f32>(&weights)?;
        // Zero times infinity is no zero.
        if width == 0 || outputs == 0 || !given.iter().all(|weight| weight.is_finite()) {
            return Ok(None);
        }
        let weights = if by_output {
            (0..width).flat_map(|input| given.iter().skip(input).step_by(width).copied()).collect()
        } else {
            given.into_owned()
        };
        Ok(Some(MatVec { width, outputs, weights, bias }))
    }
}

#[derive(Debug)]
struct MatVec {
    width: usize,
    outputs: usize,
    /// By input.
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Kernel for MatVec {
    fn name(&self) -> &'static str {
        "MatVec"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        ensure!(inputs.len() == 1, "expected 1 input, got {}", inputs.len());
        Ok(tvec!(Spec::of::<f32>([1.to_dim(), self.outputs.to_dim()])))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let row = values::<f32>(&inputs[0])?;
        ensure!(row.len() == self.width, "expected {} values, got {}", self.width, row.len());
        let mut sums = self.bias.clone();
        self.add(&row, &mut sums);
        Ok(tvec!(tensor(&[1, self.outputs], sums)?))
    }

    fn bytes(&self) -> usize {
        size_of_val(self.weights.as_slice()) + size_of_val(self.bias.as_slice())
    }
}

impl MatVec {
    fn add(&self, row: &[f32], sums: &mut [f32]) {
        // Four inputs at a time, so that each sum is read and written once for four.
        let mut four = [(0.0, &[][..]); 4];
        let mut count = 0;
        for (&value, weights) in row.iter().zip(self.weights.chunks_exact(self.outputs)) {
            four[count] = (value, weights);
            count += usize::from(value != 0.0);
            if count == four.len() {
                let [(a, first), (b, second), (c, third), (d, fourth)] = four;
                let weights = first.iter().zip(second).zip(third.iter().zip(fourth));
                for (sum, ((first, second), (third, fourth))) in sums.iter_mut().zip(weights) {
                    *sum += (a * first + b * second) + (c * third + d * fourth);
                }
                count = 0;
            }
        }
        for (value, weights) in &four[..count] {
            for (sum, weight) in sums.iter_mut().zip(*weights) {
                *sum += value * weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "small whole numbers")]
    fn zeros_are_left_out_and_the_rest_is_summed() {
        for width in 1..12 {
            let weights: Vec<f32> = (0..width * 3).map(|place| place as f32).collect();
            let row: Vec<f32> = (0..width).map(|place| (place % 3) as f32).collect();
            let kernel = MatVec { width, outputs: 3, weights, bias: vec![1.0, 2.0, 3.0] };
            let mut sums = kernel.bias.clone();
            kernel.add(&row, &mut sums);
            for (output, sum) in sums.iter().enumerate() {
                let products = row.iter().enumerate().map(|(input, value)| value * (input * 3 + output) as f32);
                assert_eq!(*sum, kernel.bias[output] + products.sum::<f32>());
            }
        }
    }
}
