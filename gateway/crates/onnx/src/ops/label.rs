//! The label of the greatest score in each row, which [`fuse`](super::super::fuse) makes of `ArgMax`,
//! `ArrayFeatureExtractor`, `Reshape` and `Cast`.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, OWN, Operator, Spec, built};
use super::labels::Labels;
use super::values::{is_numeric, values};
use crate::rows::{Along, Flow, Inputs, MIXES, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: OWN,
    name: "ModelgateLabel",
    attributes: &["ints", "strings"],
    build: |_, node| built(node, Arc::new(Label(Labels::read(Attributes(node), "strings", "ints")?))),
};

#[derive(Debug)]
struct Label(Labels);

impl Kernel for Label {
    fn name(&self) -> &'static str {
        "Label"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [scores] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(is_numeric(scores.datum), "expected numbers, got {:?}", scores.datum);
        let [rows, _, rest @ ..] = &*scores.shape else { bail!("expected a matrix, got {:?}", scores.shape) };
        let count = rest.iter().fold(rows.clone(), |count, dim| count * dim);
        Ok(tvec!(Spec { datum: self.0.datum(), shape: tvec!(count) }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let along = inputs.only_first()?;
        let [_, _, rest @ ..] = inputs.facts[0].shape.dims() else { return Err(MIXES.into()) };
        let inner = rest.iter().fold(along.inner.clone(), |inner, dim| inner * dim);
        if along.axis != 0 {
            return Err(MIXES.into());
        }
        Ok(tvec!(Flow::Rows(Along { inner, ..along.clone() })))
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let scores = &inputs[0];
        let &[_, classes, ref rest @ ..] = scores.shape() else { bail!("expected a matrix") };
        let rest = rest.iter().product();
        let indices = match scores.datum_type() {
            DatumType::F64 => greatest(&values::<f64>(scores)?, classes, rest),
            datum if datum.is_float() => greatest(&values::<f32>(scores)?, classes, rest),
            _ => greatest(&values::<i64>(scores)?, classes, rest),
        };
        Ok(tvec!(self.0.pick(indices.into_iter())?))
    }
}

/// Along the second of three dimensions, of which the last is `rest`, the place of the greatest; the first of equal ones.
fn greatest<T: PartialOrd>(values: &[T], count: usize, rest: usize) -> Vec<usize> {
    if count == 0 || rest == 0 {
        return Vec::new();
    }
    let first_of_greatest = |mut values: std::iter::StepBy<std::iter::Skip<std::slice::Iter<'_, T>>>| {
        let mut best = (0, values.next());
        for (index, value) in values.enumerate() {
            if Some(value) > best.1 {
                best = (index + 1, Some(value));
            }
        }
        best.0
    };
    let blocks = values.chunks_exact(count * rest);
    blocks.flat_map(|block| (0..rest).map(|at| first_of_greatest(block.iter().skip(at).step_by(rest)))).collect()
}

#[cfg(test)]
mod tests {
    use super::greatest;

    #[test]
    fn the_first_of_the_greatest_counts() {
        assert_eq!(greatest(&[1, 3, 3, 5, 2, 5], 3, 1), [1, 0]);
        // Two rows of two classes by three.
        assert_eq!(greatest(&[1, 2, 3, 3, 2, 1, 0, 0, 0, 1, 1, 1], 2, 3), [1, 0, 0, 1, 1, 1]);
        assert_eq!(greatest(&[f32::NAN, 1.0, f32::NEG_INFINITY, 0.0], 2, 1), [0, 1]);
        assert!(greatest::<f32>(&[], 0, 1).is_empty());
    }
}
