//! From raw scores to what a library's `predict` gives, in that library's own arithmetic.

use std::sync::LazyLock;

/// The task of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Numbers.
    Regression,
    /// One of two classes; there is one raw score.
    Binary,
    /// One of several classes; there is a raw score for each.
    Classes,
    /// Several questions of yes or no.
    Labels,
    /// An order.
    Ranking,
}

/// Scores, row by row, in the type that the library computes them in.
#[derive(Clone, Debug, PartialEq)]
pub enum Scores {
    /// XGBoost's.
    Single(Vec<f32>),
    /// LightGBM's and CatBoost's.
    Double(Vec<f64>),
}

/// The way from raw scores to outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Transform {
    Identity,
    /// XGBoost's logistic function.
    SingleSigmoid,
    /// 1 above 0, else 0.
    Hinge,
    Exponent,
    Softmax,
    /// The place of the greatest.
    Greatest,
    /// LightGBM's logistic function of the score times this.
    Sigmoid(f64),
    /// The square, with the sign of the score.
    SignedSquare,
    /// log(1 + exp(score)).
    Softplus,
    /// CatBoost's logistic function.
    CatSigmoid,
    /// CatBoost's softmax.
    CatSoftmax,
    /// CatBoost's exponent.
    CatExponent,
    /// A mean, and the exponent of twice the logarithm of a deviation: the variance.
    Uncertainty,
}

/// The meaning of a model's scores, and their way to outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    name: String,
    task: Task,
    transform: Transform,
    /// Scores are divided by this first: a forest's trees.
    divisor: Option<f64>,
}

impl Objective {
    pub(crate) fn new(name: &str, task: Task, transform: Transform) -> Self {
        Self { name: name.to_owned(), task, transform, divisor: None }
    }

    pub(crate) fn divided(self, divisor: f64) -> Self {
        Self { divisor: Some(divisor), ..self }
    }

    /// As the library calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model's task.
    pub fn task(&self) -> Task {
        self.task
    }

    /// Whether the output of a row is one class, as a number.
    pub fn is_greatest(&self) -> bool {
        self.transform == Transform::Greatest
    }

    /// Whether outputs are other numbers than raw scores.
    pub fn is_transforming(&self) -> bool {
        self.transform != Transform::Identity || self.divisor.is_some()
    }

    /// The same model asked for probabilities, where its own outputs are classes.
    pub(crate) fn with_probabilities(&self) -> Self {
        let transform = if self.transform == Transform::Greatest { Transform::Softmax } else { self.transform };
        Self { transform, ..self.clone() }
    }

    /// Outputs of rows that have so many raw scores each.
    pub fn outputs(&self, raw: Scores, width: usize) -> Scores {
        match raw {
            Scores::Single(mut scores) => {
                if self.transform == Transform::Greatest {
                    return Scores::Single(scores.chunks(width).map(|row| greatest(row) as f32).collect());
                }
                scores.chunks_mut(width).for_each(|row| self.single(row));
                Scores::Single(scores)
            }
            Scores::Double(mut scores) => {
                if let Some(divisor) = self.divisor {
                    for score in &mut scores {
                        *score /= divisor;
                    }
                }
                scores.chunks_mut(width).for_each(|row| self.double(row));
                Scores::Double(scores)
            }
        }
    }

    fn single(&self, row: &mut [f32]) {
        match self.transform {
            Transform::SingleSigmoid => row.iter_mut().for_each(|score| *score = single_sigmoid(*score)),
            Transform::Hinge => row.iter_mut().for_each(|score| *score = f32::from(u8::from(*score > 0.0))),
            Transform::Exponent => row.iter_mut().for_each(|score| *score = score.exp()),
            Transform::Softmax => {
                let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let mut sum = 0.0;
                for score in row.iter_mut() {
                    *score = (*score - most).exp();
                    sum += f64::from(*score);
                }
                for score in row.iter_mut() {
                    *score /= sum as f32;
                }
            }
            _ => {}
        }
    }

    fn double(&self, row: &mut [f64]) {
        match self.transform {
            Transform::Sigmoid(factor) => {
                for score in row.iter_mut() {
                    *score = 1.0 / (1.0 + (-factor * *score).exp());
                }
            }
            Transform::CatSigmoid => row.iter_mut().for_each(|score| *score = 1.0 / (1.0 + (-*score).exp())),
            Transform::Exponent => row.iter_mut().for_each(|score| *score = score.exp()),
            Transform::CatExponent => row.iter_mut().for_each(|score| *score = quick_exp(*score)),
            Transform::Softmax => softmax(row, f64::exp),
            Transform::CatSoftmax => softmax(row, quick_exp),
            Transform::SignedSquare => {
                for score in row.iter_mut() {
                    let sign = f64::from(i8::from(*score > 0.0) - i8::from(*score < 0.0));
                    *score = sign * *score * *score;
                }
            }
            Transform::Softplus => row.iter_mut().for_each(|score| *score = score.exp().ln_1p()),
            Transform::Uncertainty => {
                if let [_, deviation] = row {
                    *deviation = quick_exp(2.0 * *deviation);
                }
            }
            _ => {}
        }
    }
}

fn softmax(row: &mut [f64], exp: impl Fn(f64) -> f64) {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in row.iter_mut() {
        *score = exp(*score - most);
        sum += *score;
    }
    for score in row.iter_mut() {
        *score /= sum;
    }
}

/// The exponent as CatBoost takes it: a power of two from a table of 2,048, times a polynomial of the third degree.
fn quick_exp(value: f64) -> f64 {
    const STEPS: u32 = 2048;
    const MANTISSA: u64 = (1 << 52) - 1;
    static POWERS: LazyLock<Vec<u64>> = LazyLock::new(|| {
        (0..STEPS).map(|step| 2f64.powf(f64::from(step) / f64::from(STEPS)).to_bits() & MANTISSA).collect()
    });
    if value <= -708.396_418_532_264_1 {
        return 0.0;
    }
    if value >= 709.782_712_893_384 {
        return f64::INFINITY;
    }
    let scale = f64::from(STEPS) / std::f64::consts::LN_2;
    // Added to a small number, what is left of it in the low bits is the nearest whole one.
    let rounder = (3u64 << 51) as f64;
    let shifted = value * scale + rounder;
    let bits = shifted.to_bits();
    let rest = (shifted - rounder) * (1.0 / scale) - value;
    let fraction = POWERS[(bits % u64::from(STEPS)) as usize];
    let exponent = (bits.wrapping_add((1 << 21) - (1 << 11)) >> 11) << 52;
    let correction = (3.000_000_002_795_539_4 - rest) * (rest * rest) * 0.166_666_666_852_278_35 - rest + 1.0;
    correction * f64::from_bits(exponent | fraction)
}

/// XGBoost's, which bounds the exponent.
fn single_sigmoid(score: f32) -> f32 {
    let exponent = (-score).min(88.7);
    1.0 / (exponent.exp() + 1.0 + 1e-16)
}

/// The place of the first that no other is above.
pub(crate) fn greatest<T: PartialOrd>(row: &[T]) -> usize {
    let mut best = 0;
    for (index, score) in row.iter().enumerate() {
        if *score > row[best] {
            best = index;
        }
    }
    best
}
