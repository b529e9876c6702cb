//! From sums of votes to a class and its scores.
//!
//! Follows ONNX Runtime where the standard is vague, with these exceptions, where its answer cannot be meant: an
//! ensemble of two classes that votes for both gives the class with more votes; one of a single class gives that class;
//! PROBIT of a single column fills both columns.

use super::super::post::{PostTransform, logistic, probit};
use super::layout::Scalar;
use super::spec::{Spec, TreeError};

/// The way from an ensemble's sums to scores.
#[derive(Clone, Debug)]
pub struct Scoring {
    post: PostTransform,
    /// Added to each class's sum; empty for none.
    base: Vec<f64>,
    /// Of two classes, one gets all votes.
    single: Option<Single>,
}

/// Two classes, one column of votes, which is the score of the second class whichever it names.
#[derive(Clone, Copy, Debug)]
struct Single {
    /// The class that the votes name.
    class: usize,
    /// Added to the votes.
    base: f64,
    /// No weight is negative: the score is a probability, else a margin.
    probability: bool,
    other: Other,
}

/// The treatment of the first class.
#[derive(Clone, Copy, Debug)]
enum Other {
    /// The votes name the first class: it gets what the second one leaves.
    Complement,
    /// There is a base value for both: it gets the opposite, before the transform.
    Opposite,
    /// The votes name the second class: it has none but a base value.
    Base(f32),
}

impl Scoring {
    /// Checks `base` against the ensemble.
    pub fn new(spec: &Spec, post: PostTransform, base: Vec<f64>) -> Result<Self, TreeError> {
        let one_class = spec
            .votes
            .first()
            .map(|&(class, _)| class as usize)
            .filter(|&first| spec.classes == 2 && spec.votes.iter().all(|&(class, _)| class as usize == first));
        let expected = spec.classes;
        if !(base.is_empty() || base.len() == expected || one_class.is_some() && base.len() == 1) {
            return Err(TreeError::Length { name: "base_values", found: base.len(), expected });
        }
        let single = one_class.map(|class| {
            let (base, other) = match (class, base.as_slice()) {
                (_, [_, second]) => (*second, Other::Opposite),
                (0, base) => (base.first().copied().unwrap_or(0.0), Other::Complement),
                (_, base) => (0.0, Other::Base(base.first().map_or(0.0, |&base| base as f32))),
            };
            let probability = spec.votes.iter().all(|&(_, weight)| weight >= 0.0);
            Single { class, base, probability, other }
        });
        Ok(Self { post, base, single })
    }

    /// Writes a row's scores and gives the place of its class. `T` is the type that sums are compared in.
    pub fn finish<T: Scalar>(&self, sums: &[f64], scores: &mut [f32]) -> usize {
        let round = |sum: f64| T::nearest(sum).to_f64();
        if let (Some(single), [_, _]) = (self.single, &*scores) {
            let score = round(sums[single.class] + single.base);
            scores.copy_from_slice(&single.scores(score, self.post));
            return usize::from(score > if single.probability { 0.5 } else { 0.0 });
        }
        let mut best: Option<(usize, f64)> = None;
        for (class, (&sum, score)) in sums.iter().zip(&mut *scores).enumerate() {
            let base = self.base.get(class);
            let total = round(sum + base.unwrap_or(&0.0));
            // Plus 0.0, for the sum of no votes is -0.0. Such a class is never the best one.
            *score = (total + 0.0) as f32;
            let voted = base.is_some() || sum != 0.0 || sum.is_sign_positive();
            if voted && best.is_none_or(|(_, best)| total > best) {
                best = Some((class, total));
            }
        }
        self.post.apply(scores);
        best.map_or(0, |(class, _)| class)
    }
}

impl Single {
    fn scores(self, score: f64, post: PostTransform) -> [f32; 2] {
        let positive = score as f32;
        let first = match self.other {
            Other::Opposite => -positive,
            Other::Base(base) => base,
            Other::Complement => {
                return match post {
                    PostTransform::Probit => [probit((1.0 - score) as f32), probit(positive)],
                    PostTransform::Logistic => [logistic(-positive), logistic(positive)],
                    _ if self.probability => [(1.0 - score) as f32, positive],
                    _ => [-positive, positive],
                };
            }
        };
        let mut pair = [first, positive];
        post.apply(&mut pair);
        pair
    }
}
