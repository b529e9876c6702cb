//! Tree ensembles: `TreeEnsembleClassifier` of `ai.onnx.ml`.
//!
//! tract's own operator walks the leaf table for each leaf (100 ms a row for a forest that takes 1 µs here), and is wrong
//! on binary forests and some branch modes. The parts can be used by themselves: [`spec`] checks what a file says,
//! [`classifier`] answers.

#![allow(clippy::wildcard_imports, reason = "operators need most of what tract offers to them")]

mod attributes;
pub mod classifier;
pub mod forest;
mod layout;
mod score;
pub mod spec;
#[cfg(test)]
mod tests;
mod walk;

use std::fmt;
use std::sync::{Arc, OnceLock};

use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use self::classifier::{Classifier, Labels};
pub use self::layout::Scalar;
pub use self::score::{PostTransform, Scoring};
use self::spec::{Spec, TreeError};

/// Builds the operator from its node.
pub(super) fn classifier(_: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let (spec, scoring, labels) = attributes::classifier(node)?;
    let parsed = Parsed { spec, scoring, labels: Arc::new(labels), single: OnceLock::new(), double: OnceLock::new() };
    Ok((expand(ParsedClassifier(Arc::new(parsed))), vec![]))
}

/// As read from the file; packed once the type of its input is known, and then shared by all plans.
struct Parsed {
    spec: Spec,
    scoring: Scoring,
    labels: Arc<Labels>,
    single: OnceLock<Result<Arc<Classifier<f32>>, Arc<TreeError>>>,
    double: OnceLock<Result<Arc<Classifier<f64>>, Arc<TreeError>>>,
}

impl Parsed {
    fn pack<T: Scalar>(&self) -> Result<Arc<Classifier<T>>, Arc<TreeError>> {
        Ok(Arc::new(Classifier::new(&self.spec, self.scoring.clone(), Arc::clone(&self.labels))?))
    }

    fn labels_type(&self) -> DatumType {
        match &*self.labels {
            Labels::Ints(_) => i64::datum_type(),
            Labels::Strings(_) => String::datum_type(),
        }
    }
}

#[derive(Clone)]
struct ParsedClassifier(Arc<Parsed>);

impl fmt::Debug for ParsedClassifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TreeEnsembleClassifier")
    }
}

impl Expansion for ParsedClassifier {
    fn name(&self) -> StaticName {
        "TreeEnsembleClassifier".into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(2)
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        let ([input], [labels, scores]) = (inputs, outputs) else {
            bail!("expected 1 input and 2 outputs, got {} and {}", inputs.len(), outputs.len());
        };
        s.equals(&labels.datum_type, self.0.labels_type())?;
        s.equals(&labels.rank, 1)?;
        s.equals(&scores.datum_type, f32::datum_type())?;
        s.equals(&scores.rank, 2)?;
        s.equals(&labels.shape[0], &scores.shape[0])?;
        s.equals(&scores.shape[1], self.0.labels.len().to_dim())?;
        s.given(&input.rank, move |s, rank| match rank {
            1 => s.equals(&labels.shape[0], 1.to_dim()),
            2 => s.equals(&labels.shape[0], &input.shape[0]),
            rank => bail!("expected a matrix, got {rank} dimensions"),
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let fact = model.outlet_fact(inputs[0])?;
        let width = fact.shape.last().and_then(|dim| dim.to_usize().ok());
        let features = self.0.spec.features;
        if let Some(width) = width {
            ensure!(features <= width, "the trees use {features} features, the input has {width}");
        }
        let packed = if fact.datum_type == f64::datum_type() {
            Packed::Double(self.0.double.get_or_init(|| self.0.pack()).clone()?)
        } else {
            Packed::Single(self.0.single.get_or_init(|| self.0.pack()).clone()?)
        };
        model.wire_node(prefix, ClassifierOp(packed), inputs)
    }
}

/// The operator in a plan.
#[derive(Clone, Debug)]
pub(crate) struct ClassifierOp(Packed);

#[derive(Clone)]
enum Packed {
    Single(Arc<Classifier<f32>>),
    Double(Arc<Classifier<f64>>),
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single(_) => "f32",
            Self::Double(_) => "f64",
        })
    }
}

impl PartialEq for ClassifierOp {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Packed::Single(one), Packed::Single(other)) => Arc::ptr_eq(one, other),
            (Packed::Double(one), Packed::Double(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for ClassifierOp {}

impl ClassifierOp {
    /// What it holds, for telling shared ones apart, and its size in bytes.
    pub(crate) fn resident(&self) -> (usize, usize) {
        match &self.0 {
            Packed::Single(classifier) => (Arc::as_ptr(classifier) as usize, classifier.forest().bytes()),
            Packed::Double(classifier) => (Arc::as_ptr(classifier) as usize, classifier.forest().bytes()),
        }
    }

    fn labels(&self) -> &Labels {
        match &self.0 {
            Packed::Single(classifier) => classifier.labels(),
            Packed::Double(classifier) => classifier.labels(),
        }
    }
}

impl Op for ClassifierOp {
    fn name(&self) -> StaticName {
        "TreeEnsembleClassifier".into()
    }

    op_as_typed_op!();
}

impl EvalOp for ClassifierOp {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        match &self.0 {
            Packed::Single(classifier) => answer(classifier, &input),
            Packed::Double(classifier) => answer(classifier, &input),
        }
    }
}

impl TypedOp for ClassifierOp {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let rows = match &*inputs[0].shape {
            [rows, _] => rows.clone(),
            _ => 1.to_dim(),
        };
        let labels = match self.labels() {
            Labels::Ints(_) => i64::fact([rows.clone()]),
            Labels::Strings(_) => String::fact([rows.clone()]),
        };
        Ok(tvec!(labels, f32::fact([rows, self.labels().len().to_dim()])))
    }

    as_op!();
}

fn answer<T: Scalar + Datum>(classifier: &Classifier<T>, input: &Tensor) -> TractResult<TVec<TValue>> {
    let (rows, width) = match *input.shape() {
        [rows, width] => (rows, width),
        [width] => (1, width),
        _ => bail!("expected a matrix, got the shape {:?}", input.shape()),
    };
    let features = classifier.forest().features();
    ensure!(features <= width, "the trees use {features} features, the input has {width}");
    let input = input.cast_to::<T>()?;
    // A matrix without columns still has rows; the trees, single leaves all, need a value to look away from.
    let spare = if width == 0 { vec![T::default(); rows] } else { vec![] };
    let (values, width) = match width {
        0 => (&spare[..], 1),
        _ => (input.try_as_plain_ram()?.as_slice::<T>()?, width),
    };
    let mut scores = Tensor::zero::<f32>(&[rows, classifier.labels().len()])?;
    let mut plain = scores.try_as_plain_ram_mut()?;
    let plain = plain.as_slice_mut::<f32>()?;
    let labels = match classifier.labels() {
        Labels::Ints(labels) => label(classifier, labels, values, width, rows, plain),
        Labels::Strings(labels) => label(classifier, labels, values, width, rows, plain),
    };
    Ok(tvec!(labels.into(), scores.into()))
}

fn label<T: Scalar, L: Datum + Default>(
    classifier: &Classifier<T>,
    labels: &[L],
    values: &[T],
    width: usize,
    rows: usize,
    scores: &mut [f32],
) -> Tensor {
    let mut chosen = vec![L::default(); rows];
    classifier.predict(values, width, scores, |row, class| chosen[row].clone_from(&labels[class]));
    tract_ndarray::Array1::from_vec(chosen).into()
}
