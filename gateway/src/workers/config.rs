//! The operator's settings of the workers and their queues.

use std::{collections::BTreeMap, sync::Arc};

use super::fair_queue::{LEVELS, MAX_WEIGHT};

/// The number of workers, and the work that may wait.
#[derive(Clone, Debug)]
pub struct WorkersConfig {
    /// Threads.
    pub count: usize,
    /// Jobs that may wait, of all models together.
    pub queue: usize,
    /// Bytes of batches and of bodies to be decoded that may wait, of all models together.
    pub queue_bytes: usize,
    /// The share of the workers' time that each model gets.
    pub weights: Weights,
    /// Whether the priority that a request asks for is honoured, among the requests to its model.
    pub request_priority: bool,
}

/// Weights of models, by name; 1 where none is given.
#[derive(Clone, Debug, Default)]
pub struct Weights(Arc<BTreeMap<String, u32>>);

impl Weights {
    /// Reads `NAME=WEIGHT` from each of `texts`.
    ///
    /// # Errors
    /// The text that is not of that form, or names a model a second time.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let mut weights = BTreeMap::new();
        for text in texts {
            let pair =
                text.rsplit_once('=').and_then(|(name, weight)| Some((name.trim(), weight.trim().parse().ok()?)));
            let Some((name, weight)) =
                pair.filter(|(name, weight)| !name.is_empty() && (1..=MAX_WEIGHT).contains(weight))
            else {
                return Err(format!("expected NAME=WEIGHT with a weight from 1 to {MAX_WEIGHT}, got {text:?}"));
            };
            if weights.insert(name.to_owned(), weight).is_some() {
                return Err(format!("model '{name}' has two weights"));
            }
        }
        Ok(Self(Arc::new(weights)))
    }

    /// The weight of a model.
    pub fn weight(&self, model: &str) -> u32 {
        self.0.get(model).copied().unwrap_or(1)
    }
}

/// The order among the requests to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(pub(super) usize);

impl Priority {
    /// Of a request that says nothing: in the middle.
    pub const DEFAULT: Self = Self(LEVELS / 2);

    /// As the Open Inference Protocol numbers it: 1 goes first, larger numbers later, and 0 is the default. There are five
    /// levels, and the default is the third.
    pub fn from_number(number: u64) -> Self {
        match usize::try_from(number) {
            Ok(0) => Self::DEFAULT,
            Ok(number) => Self((number - 1).min(LEVELS - 1)),
            Err(_) => Self(LEVELS - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_goes_first_and_the_default_is_in_the_middle() {
        let levels: Vec<_> =
            [1, 2, 3, 4, 5, 6, u64::MAX].into_iter().map(|number| Priority::from_number(number).0).collect();
        assert_eq!(levels, [0, 1, 2, 3, 4, 4, 4]);
        assert_eq!(Priority::from_number(0), Priority::from_number(3));
    }

    #[test]
    fn weights_are_named_once_and_bounded() {
        let parse = |texts: &[&str]| Weights::parse(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
        let weights = parse(&["fraud=3", "a=b=10"]).expect("weights");
        assert_eq!((weights.weight("fraud"), weights.weight("a=b"), weights.weight("other")), (3, 10, 1));
        for bad in [&["fraud"][..], &["fraud=0"], &["fraud=1001"], &["=2"], &["fraud=x"], &["fraud=1", "fraud=2"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
