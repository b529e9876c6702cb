//! `SVMClassifier` of `ai.onnx.ml`: a machine for each pair of classes, or one linear machine for each class.

use std::sync::Arc;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::super::attributes::Attributes;
use super::super::kernel::{Kernel, ML, Operator, Spec, built, matrix};
use super::super::labels::Labels;
use super::super::post::{PostTransform, logistic, probit};
use super::super::values::{is_numeric, room, tensor, values};
use super::coupling::couple;
use super::kernel_function::KernelFunction;
use crate::rows::{Inputs, Outcome};

pub(in super::super) const OPERATOR: Operator = Operator {
    domain: ML,
    name: "SVMClassifier",
    attributes: &[
        "classlabels_ints",
        "classlabels_strings",
        "coefficients",
        "kernel_params",
        "kernel_type",
        "post_transform",
        "prob_a",
        "prob_b",
        "rho",
        "support_vectors",
        "vectors_per_class",
    ],
    build: |_, node| built(node, Arc::new(parse(node)?)),
};

/// More classes than anyone has pairs of.
const MOST_CLASSES: usize = 1024;

fn parse(node: &NodeProto) -> TractResult<Classifier> {
    let node = Attributes(node);
    let labels = Labels::read(node, "classlabels_strings", "classlabels_ints")?;
    let classes = labels.len();
    ensure!(classes <= MOST_CLASSES, "{classes} classes are over the limit of {MOST_CLASSES}");
    let post = PostTransform::from_attribute(node.text("post_transform")?)?;
    let coefficients = node.floats("coefficients").to_vec();
    let rho = node.floats("rho").to_vec();
    let (prob_a, prob_b) = (node.floats("prob_a").to_vec(), node.floats("prob_b").to_vec());
    let counts = node.ints("vectors_per_class").iter().map(|&count| usize::try_from(count));
    let counts: Vec<usize> = counts.collect::<Result<_, _>>().context("attribute 'vectors_per_class' is negative")?;
    let supports =
        counts.iter().try_fold(0usize, |sum, &count| sum.checked_add(count)).context("too many support vectors")?;
    if supports == 0 {
        let width = coefficients.len() / classes;
        ensure!(width > 0 && width * classes == coefficients.len(), "the coefficients are not one list for each class");
        let &[rho, ..] = rho.as_slice() else { bail!("attribute 'rho' is not given") };
        let machine = Machine::Linear { coefficients, rho };
        return Ok(Classifier { width, labels, post, machine });
    }
    ensure!(counts.len() == classes, "vectors are counted for {} classes of {classes}", counts.len());
    let vectors = node.floats("support_vectors").to_vec();
    let width = vectors.len() / supports;
    ensure!(width > 0 && width * supports == vectors.len(), "the support vectors are no matrix");
    let pairs = classes * (classes - 1) / 2;
    ensure!(rho.len() == pairs, "attribute 'rho' has {} values, expected {pairs}", rho.len());
    let wanted = supports.checked_mul(classes - 1).context("too many support vectors")?;
    ensure!(coefficients.len() == wanted, "{} coefficients, expected {wanted}", coefficients.len());
    for (name, values) in [("prob_a", &prob_a), ("prob_b", &prob_b)] {
        ensure!(prob_a.len() == prob_b.len() && [0, pairs].contains(&values.len()), "'{name}' is not of {pairs} pairs");
    }
    let function = KernelFunction::read(node)?;
    let machine = Machine::Pairs { vectors, counts, coefficients, rho, prob_a, prob_b, function };
    Ok(Classifier { width, labels, post, machine })
}

#[derive(Debug)]
struct Classifier {
    width: usize,
    labels: Labels,
    post: PostTransform,
    machine: Machine,
}

#[derive(Debug)]
enum Machine {
    /// A list of coefficients for each class.
    Linear { coefficients: Vec<f32>, rho: f32 },
    /// A machine for each pair of classes over the support vectors of both.
    Pairs {
        vectors: Vec<f32>,
        counts: Vec<usize>,
        coefficients: Vec<f32>,
        rho: Vec<f32>,
        prob_a: Vec<f32>,
        prob_b: Vec<f32>,
        function: KernelFunction,
    },
}

impl Kernel for Classifier {
    fn name(&self) -> &'static str {
        "SVMClassifier"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [input] = inputs else { bail!("expected 1 input, got {}", inputs.len()) };
        ensure!(is_numeric(input.datum), "expected numbers, got {:?}", input.datum);
        let (rows, width) = input.matrix()?;
        ensure!(width.to_usize().map_or(true, |width| width == self.width), "expected {} features", self.width);
        let labels = Spec { datum: self.labels.datum(), shape: tvec!(rows.clone()) };
        Ok(tvec!(labels, Spec::new::<f32>([rows, self.scores().to_dim()])))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        inputs.by_row()
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let (rows, width) = matrix(&inputs[0])?;
        ensure!(width == self.width, "expected {} features, got {width}", self.width);
        let values = values::<f32>(&inputs[0])?;
        let mut classes = Vec::with_capacity(rows);
        let mut scores = Vec::with_capacity(room(rows, self.scores())?);
        for row in values.chunks_exact(width) {
            let (class, mut row) = self.row(row);
            classes.push(class);
            self.finish(&mut row);
            scores.extend(row);
        }
        Ok(tvec!(self.labels.pick(classes.into_iter())?, tensor(&[rows, self.scores()], scores)?))
    }

    fn bytes(&self) -> usize {
        match &self.machine {
            Machine::Linear { coefficients, .. } => size_of_val(coefficients.as_slice()),
            Machine::Pairs { vectors, coefficients, .. } => {
                size_of_val(vectors.as_slice()) + size_of_val(coefficients.as_slice())
            }
        }
    }
}

impl Classifier {
    /// Scores in each row.
    fn scores(&self) -> usize {
        let classes = self.labels.len();
        match &self.machine {
            Machine::Pairs { prob_a, .. } if prob_a.is_empty() && classes > 2 => classes * (classes - 1) / 2,
            _ => classes,
        }
    }

    /// The class and the scores of a row, not transformed yet.
    fn row(&self, row: &[f32]) -> (usize, Vec<f32>) {
        match &self.machine {
            Machine::Linear { coefficients, rho } => {
                let lists = coefficients.chunks_exact(self.width);
                let scores: Vec<f32> = lists.map(|list| KernelFunction::Linear.value(row, list) + rho).collect();
                (first_greatest(&scores), scores)
            }
            Machine::Pairs { vectors, counts, coefficients, rho, prob_a, prob_b, function } => {
                let alike: Vec<f32> =
                    vectors.chunks_exact(self.width).map(|vector| function.value(row, vector)).collect();
                let classes = counts.len();
                let starts: Vec<usize> =
                    counts.iter().scan(0, |start, count| Some(std::mem::replace(start, *start + count))).collect();
                let mut votes = vec![0u32; classes];
                let mut scores = Vec::with_capacity(rho.len());
                // The coefficients of a vector against each other class, one list for each such class.
                let part = |list: usize, class: usize| -> f64 {
                    let vectors = starts[class]..starts[class] + counts[class];
                    let coefficients = &coefficients[list * alike.len()..][vectors.clone()];
                    let terms = coefficients.iter().zip(&alike[vectors]);
                    terms.map(|(&coefficient, &alike)| f64::from(coefficient) * f64::from(alike)).sum()
                };
                for i in 0..classes {
                    for j in i + 1..classes {
                        let sum = part(j - 1, i) + part(i, j) + f64::from(rho[scores.len()]);
                        scores.push(sum as f32);
                        votes[if sum > 0.0 { i } else { j }] += 1;
                    }
                }
                let class = first_greatest(&votes);
                if prob_a.is_empty() {
                    return (class, scores);
                }
                // The votes name the class, also where the probabilities have another favourite.
                (class, probabilities(classes, &scores, prob_a, prob_b))
            }
        }
    }

    /// The scores as the operator gives them: a single one becomes two.
    fn finish(&self, scores: &mut Vec<f32>) {
        let &[score] = scores.as_slice() else { return self.post.apply(scores) };
        *scores = match self.post {
            PostTransform::Logistic => vec![logistic(-score), logistic(score)],
            PostTransform::None => vec![-score, score],
            PostTransform::Probit => vec![probit(1.0 - score), probit(score)],
            _ => vec![1.0 - score, score],
        };
    }
}

/// Platt's probabilities of each pair, coupled.
fn probabilities(classes: usize, scores: &[f32], prob_a: &[f32], prob_b: &[f32]) -> Vec<f32> {
    let mut pairs = vec![0.0; classes * classes];
    let mut at = (0..classes).flat_map(|i| (i + 1..classes).map(move |j| (i, j)));
    for ((&score, &a), &b) in scores.iter().zip(prob_a).zip(prob_b) {
        let Some((i, j)) = at.next() else { break };
        let value = f64::from(score) * f64::from(a) + f64::from(b);
        let probability = (1.0 / (1.0 + value.exp())).clamp(1e-7, 1.0 - 1e-7);
        pairs[i * classes + j] = probability;
        pairs[j * classes + i] = 1.0 - probability;
    }
    couple(classes, &pairs).into_iter().map(|value| value as f32).collect()
}

fn first_greatest<T: PartialOrd>(values: &[T]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}
