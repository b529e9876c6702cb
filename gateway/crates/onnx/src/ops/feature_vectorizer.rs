//! `FeatureVectorizer` of `ai.onnx.ml`: columns side by side in one matrix of floats.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, ML, Operator, Spec, built};
use super::values::{is_numeric, room, tensor, values};
use crate::rows::{Inputs, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: ML,
    name: "FeatureVectorizer",
    attributes: &["inputdimensions"],
    build: |_, node| {
        let widths = Attributes(node).ints("inputdimensions").iter().map(|&width| usize::try_from(width));
        let widths: Vec<usize> = widths.collect::<Result<_, _>>().context("attribute 'inputdimensions' is negative")?;
        let total = widths.iter().try_fold(0usize, |total, &width| total.checked_add(width));
        ensure!(total.is_some_and(|total| total <= MOST_COLUMNS), "attribute 'inputdimensions' is over {MOST_COLUMNS}");
        ensure!(widths.len() == node.input.len(), "{} sizes for {} inputs", widths.len(), node.input.len());
        built(node, Arc::new(FeatureVectorizer(widths)))
    },
};

/// Far more than tables have.
const MOST_COLUMNS: usize = 1 << 20;

/// The columns taken of each input: what it has beyond is left out, what it lacks is 0.
#[derive(Debug)]
struct FeatureVectorizer(Vec<usize>);

impl Kernel for FeatureVectorizer {
    fn name(&self) -> &'static str {
        "FeatureVectorizer"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        ensure!(inputs.len() == self.0.len(), "expected {} inputs, got {}", self.0.len(), inputs.len());
        if let Some(other) = inputs.iter().find(|input| !is_numeric(input.datum)) {
            bail!("expected numbers, got {:?}", other.datum);
        }
        let rows = rows(&inputs.first().context("no inputs")?.shape);
        Ok(tvec!(Spec::new::<f32>([rows, self.0.iter().sum::<usize>().to_dim()])))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.by_row()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (total, count) = (self.0.iter().sum::<usize>(), rows(inputs[0].shape()));
        let mut out = vec![0.0f32; room(count, total)?];
        let mut start = 0;
        for (input, &width) in inputs.iter().zip(&self.0) {
            ensure!(rows(input.shape()) == count, "the inputs differ in their rows");
            let values = values::<f32>(input)?;
            let have = values.len().checked_div(count).unwrap_or(0);
            for (row, out) in values.chunks_exact(have.max(1)).zip(out.chunks_exact_mut(total.max(1))) {
                let width = width.min(row.len());
                out[start..start + width].copy_from_slice(&row[..width]);
            }
            start += width;
        }
        Ok(tvec!(tensor(&[count, total], out)?))
    }
}

/// A list is one row.
fn rows<D: Clone + From<usize>>(shape: &[D]) -> D {
    match shape {
        [rows, _, ..] => rows.clone(),
        _ => 1.into(),
    }
}
