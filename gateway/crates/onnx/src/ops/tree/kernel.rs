//! The operators: as read from a file, and packed for the type of their input.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tract_onnx::tract_hir::internal::*;

use super::super::kernel::{Kernel, Spec as Fact, matrix};
use super::super::labels::Labels;
use super::super::values::{is_numeric, room, tensor, values};
use super::classifier::Classifier;
use super::forest::Forest;
use super::layout::Scalar;
use super::regressor::{Regressor, Target};
use super::score::Scoring;
use super::spec::Spec;
use crate::rows::{Inputs, Outcome};

/// The purpose of the votes.
#[derive(Clone)]
pub(super) enum Answer {
    Classes(Scoring, Arc<Labels>),
    /// And whether the values are of the type of the input, else single.
    Targets(Target, bool),
}

/// As read from the file; packed once the type of its input is known, and then shared by all plans.
pub(super) struct Unpacked {
    name: &'static str,
    spec: Spec,
    answer: Answer,
    single: OnceLock<Arc<dyn Kernel>>,
    double: OnceLock<Arc<dyn Kernel>>,
}

impl Unpacked {
    pub(super) fn new(name: &'static str, spec: Spec, answer: Answer) -> Self {
        Self { name, spec, answer, single: OnceLock::new(), double: OnceLock::new() }
    }

    fn pack<T: Scalar + Datum + Copy>(&self) -> TractResult<Arc<dyn Kernel>> {
        let (name, answer) = (self.name, self.answer.clone());
        Ok(match answer {
            Answer::Classes(scoring, labels) => {
                let forest = Classifier::<T>::new(&self.spec, scoring, labels)?;
                Arc::new(PackedClassifier { name, forest })
            }
            Answer::Targets(target, typed) => {
                let forest = Regressor::<T>::new(&self.spec, target)?;
                Arc::new(PackedRegressor { name, forest, typed })
            }
        })
    }
}

impl fmt::Debug for Unpacked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Kernel for Unpacked {
    fn name(&self) -> &'static str {
        self.name
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let rows = check(inputs, self.spec.features)?;
        Ok(match &self.answer {
            Answer::Classes(_, labels) => facts(rows, labels),
            Answer::Targets(_, typed) => tvec!(values_fact(rows, self.spec.classes, *typed, inputs)),
        })
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.by_row()
    }

    fn eval(&self, _: &[TValue]) -> TractResult<TVec<TValue>> {
        bail!("its trees are not packed yet")
    }

    fn specialise(&self, inputs: &[Fact]) -> TractResult<Option<Arc<dyn Kernel>>> {
        check(inputs, self.spec.features)?;
        let is_double = inputs[0].datum == f64::datum_type();
        let cell = if is_double { &self.double } else { &self.single };
        if let Some(packed) = cell.get() {
            return Ok(Some(Arc::clone(packed)));
        }
        let packed = if is_double { self.pack::<f64>()? } else { self.pack::<f32>()? };
        Ok(Some(Arc::clone(cell.get_or_init(|| packed))))
    }
}

/// The rows of a matrix wide enough for the trees.
fn check(inputs: &[Fact], features: usize) -> TractResult<TDim> {
    let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
    ensure!(is_numeric(input.datum), "expected numbers, got {:?}", input.datum);
    let (rows, width) = input.matrix()?;
    if let Ok(width) = width.to_usize() {
        ensure!(features <= width, "the trees use {features} features, the input has {width}");
    }
    Ok(rows)
}

fn facts(rows: TDim, labels: &Labels) -> TVec<Fact> {
    let scores = Fact::new::<f32>([rows.clone(), labels.len().to_dim()]);
    tvec!(Fact { datum: labels.datum(), shape: tvec!(rows) }, scores)
}

fn values_fact(rows: TDim, targets: usize, typed: bool, inputs: &[Fact]) -> Fact {
    let shape = tvec!(rows, targets.to_dim());
    let datum = if typed && inputs[0].datum == f64::datum_type() { f64::datum_type() } else { f32::datum_type() };
    Fact { datum, shape }
}

struct PackedClassifier<T: Scalar> {
    name: &'static str,
    forest: Classifier<T>,
}

impl<T: Scalar> fmt::Debug for PackedClassifier<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<T: Scalar + Datum + Copy> Kernel for PackedClassifier<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        Ok(facts(check(inputs, self.forest.forest().features())?, self.forest.labels()))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.by_row()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        with_rows(&inputs[0], self.forest.forest(), |rows, values, width| {
            let labels = self.forest.labels();
            let mut scores = vec![0.0f32; room(rows, labels.len())?];
            let mut classes = Vec::with_capacity(rows);
            self.forest.predict(values, width, &mut scores, |_, class| classes.push(class));
            Ok(tvec!(labels.pick(classes.into_iter())?, tensor(&[rows, labels.len()], scores)?))
        })
    }

    fn bytes(&self) -> usize {
        self.forest.forest().bytes()
    }
}

struct PackedRegressor<T: Scalar> {
    name: &'static str,
    forest: Regressor<T>,
    typed: bool,
}

impl<T: Scalar> fmt::Debug for PackedRegressor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<T: Scalar + Datum + Copy> Kernel for PackedRegressor<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let forest = self.forest.forest();
        Ok(tvec!(values_fact(check(inputs, forest.features())?, forest.classes(), self.typed, inputs)))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.by_row()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        with_rows(&inputs[0], self.forest.forest(), |rows, values, width| {
            let shape = [rows, self.forest.forest().classes()];
            let room = room(rows, shape[1])?;
            Ok(tvec!(if self.typed && T::datum_type() == f64::datum_type() {
                let mut out = Vec::with_capacity(room);
                self.forest.predict(values, width, |_, values| out.extend_from_slice(values));
                tensor(&shape, out)?
            } else {
                let mut out: Vec<f32> = Vec::with_capacity(room);
                self.forest.predict(values, width, |_, values| out.extend(values.iter().map(|&value| value as f32)));
                tensor(&shape, out)?
            }))
        })
    }

    fn bytes(&self) -> usize {
        self.forest.forest().bytes()
    }
}

/// Calls `then(rows, values, width)`.
fn with_rows<T: Scalar + Datum + Copy>(
    input: &Tensor,
    forest: &Forest<T>,
    then: impl FnOnce(usize, &[T], usize) -> TractResult<TVec<TValue>>,
) -> TractResult<TVec<TValue>> {
    let (rows, width) = matrix(input)?;
    let features = forest.features();
    ensure!(features <= width, "the trees use {features} features, the input has {width}");
    if width == 0 {
        // A matrix without columns still has rows; the trees, single leaves all, need a value to look away from.
        return then(rows, &vec![T::default(); rows], 1);
    }
    then(rows, &values::<T>(input)?, width)
}
