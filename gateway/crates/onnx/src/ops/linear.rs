//! `LinearClassifier` and `LinearRegressor` of `ai.onnx.ml`.

use std::sync::Arc;

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::attributes::Attributes;
use super::kernel::{Kernel, ML, Operator, Spec, built, matrix};
use super::labels::Labels;
use super::post::{PostTransform, logistic, probit};
use super::small_gemm::SmallGemm;
use super::values::{is_numeric, tensor, values};
use crate::rows::{Inputs, Outcome};

pub(super) const CLASSIFIER: Operator = Operator {
    domain: ML,
    name: "LinearClassifier",
    attributes: &[
        "classlabels_ints",
        "classlabels_strings",
        "coefficients",
        "intercepts",
        "multi_class",
        "post_transform",
    ],
    build: |ctx, node| built(node, classifier(ctx, node)?),
};

pub(super) const REGRESSOR: Operator = Operator {
    domain: ML,
    name: "LinearRegressor",
    attributes: &["coefficients", "intercepts", "post_transform", "targets"],
    build: |ctx, node| built(node, regressor(ctx, node)?),
};

fn classifier(_: &ParsingContext<'_>, node: &NodeProto) -> TractResult<Arc<dyn Kernel>> {
    let node = Attributes(node);
    let labels = Labels::read(node, "classlabels_strings", "classlabels_ints")?;
    let intercepts = node.floats("intercepts");
    // One list of coefficients may tell two classes apart.
    let outputs = if intercepts.is_empty() { labels.len() } else { intercepts.len() };
    let binary = outputs == 1 && labels.len() == 2;
    ensure!(binary || outputs == labels.len(), "{outputs} intercepts for {} classes", labels.len());
    let gemm = SmallGemm::new(node.floats("coefficients"), intercepts, outputs)
        .context("the coefficients are not a matrix of classes and features")?;
    let post = PostTransform::from_attribute(node.text("post_transform")?)?;
    Ok(Arc::new(Classifier { gemm, labels, post, binary }))
}

fn regressor(_: &ParsingContext<'_>, node: &NodeProto) -> TractResult<Arc<dyn Kernel>> {
    let node = Attributes(node);
    let targets = usize::try_from(node.int("targets").unwrap_or(1)).context("attribute 'targets' is negative")?;
    let gemm = SmallGemm::new(node.floats("coefficients"), node.floats("intercepts"), targets)
        .context("the coefficients are not a matrix of targets and features")?;
    let post = PostTransform::from_attribute(node.text("post_transform")?)?;
    // ONNX Runtime applies no other one to a single target.
    let post = if targets == 1 && post != PostTransform::Probit { PostTransform::None } else { post };
    Ok(Arc::new(Regressor { gemm, post }))
}

/// The rows of a matrix as wide as the weights.
fn check(gemm: &SmallGemm, inputs: &[Spec]) -> TractResult<TDim> {
    let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
    ensure!(is_numeric(input.datum), "expected numbers, got {:?}", input.datum);
    let (rows, width) = input.matrix()?;
    let wanted = gemm.features();
    ensure!(width.to_usize().map_or(true, |width| width == wanted), "expected {wanted} features, got {width}");
    Ok(rows)
}

/// Sums the rows of a matrix.
fn sums(gemm: &SmallGemm, input: &Tensor, mut each: impl FnMut(usize, &[f32])) -> TractResult<usize> {
    let (rows, width) = matrix(input)?;
    ensure!(width == gemm.features(), "expected {} features, got {width}", gemm.features());
    let values = values::<f32>(input)?;
    let mut sums = vec![0.0; gemm.outputs()];
    for row in 0..rows {
        gemm.row(&values[row * width..(row + 1) * width], &mut sums);
        each(row, &sums);
    }
    Ok(rows)
}

#[derive(Debug)]
struct Classifier {
    gemm: SmallGemm,
    labels: Labels,
    post: PostTransform,
    /// One sum tells two classes apart.
    binary: bool,
}

impl Kernel for Classifier {
    fn name(&self) -> &'static str {
        "LinearClassifier"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let rows = check(&self.gemm, inputs)?;
        let labels = Spec { datum: self.labels.datum(), shape: tvec!(rows.clone()) };
        Ok(tvec!(labels, Spec::new::<f32>([rows, self.labels.len().to_dim()])))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.by_row()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (mut classes, mut scores) = (Vec::new(), Vec::new());
        let rows = sums(&self.gemm, &inputs[0], |_, sums| {
            if let (true, &[sum]) = (self.binary, sums) {
                classes.push(usize::from(sum > 0.0));
                scores.extend(self.pair(sum));
                return;
            }
            classes.push(best(sums));
            let start = scores.len();
            scores.extend_from_slice(sums);
            self.post.apply(&mut scores[start..]);
        })?;
        Ok(tvec!(self.labels.pick(classes.into_iter())?, tensor(&[rows, self.labels.len()], scores)?))
    }

    fn bytes(&self) -> usize {
        self.gemm.bytes()
    }
}

impl Classifier {
    /// The scores of two classes from the sum of the second one.
    fn pair(&self, sum: f32) -> [f32; 2] {
        match self.post {
            PostTransform::Logistic => [logistic(-sum), logistic(sum)],
            PostTransform::Probit => [probit(1.0 - sum), probit(sum)],
            _ => [1.0 - sum, sum],
        }
    }
}

/// The place of the greatest, the first of equal ones.
fn best(sums: &[f32]) -> usize {
    let mut best = 0;
    for (index, sum) in sums.iter().enumerate() {
        if *sum > sums[best] {
            best = index;
        }
    }
    best
}

#[derive(Debug)]
struct Regressor {
    gemm: SmallGemm,
    post: PostTransform,
}

impl Kernel for Regressor {
    fn name(&self) -> &'static str {
        "LinearRegressor"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        Ok(tvec!(Spec::new::<f32>([check(&self.gemm, inputs)?, self.gemm.outputs().to_dim()])))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.by_row()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let mut out = Vec::new();
        let rows = sums(&self.gemm, &inputs[0], |_, sums| {
            let start = out.len();
            out.extend_from_slice(sums);
            self.post.apply(&mut out[start..]);
        })?;
        Ok(tvec!(tensor(&[rows, self.gemm.outputs()], out)?))
    }

    fn bytes(&self) -> usize {
        self.gemm.bytes()
    }
}
