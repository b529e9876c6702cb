//! Model files of XGBoost, LightGBM and CatBoost.

use modelgate_boosters::{Booster, BoosterError, Kind, Numbers, Rows, Scores};

use crate::{
    memory::{self, Allowance},
    numbers::{NUMBERS, TEXTS},
};

/// Memory of a file: the document, and trees of it. Its header alone may name as many features as any model has, with a byte
/// for each.
const FILE: Allowance = Allowance { factor: 128, floor: 64 << 20 };

/// Rows to be scored: more than a walk takes at once.
const COUNT: usize = 19;

/// Features and scores up to which a model is asked.
const WIDEST: usize = 1_000;

/// A file: a model that is read scores any row, and scores it alone as it does among others.
pub fn booster(bytes: &[u8]) {
    let Ok(booster) = memory::within(FILE, bytes.len(), || Booster::read(bytes)) else { return };
    assert!(Booster::is_one(bytes));
    assert!(booster.bytes() <= bytes.len() * FILE.factor + FILE.floor, "{} bytes are held", booster.bytes());
    let (features, width) = (booster.features(), booster.width());
    let texts = features.iter().filter(|&&kind| kind == Kind::Category).count();
    assert_eq!(width + texts, features.len());
    assert!(booster.names().is_empty() || booster.names().len() == features.len());
    if features.len() > WIDEST || booster.scores() > WIDEST {
        return;
    }
    let seed = bytes.len();
    let numbers: Vec<f64> =
        (0..COUNT * width).map(|index| NUMBERS[(index + index / 7 + seed) % NUMBERS.len()]).collect();
    let texts_of = |index: usize| Some(TEXTS[(index + seed) % TEXTS.len()].as_bytes()).filter(|_| index % 11 != 3);
    let words: Vec<Option<&[u8]>> = (0..COUNT * texts).map(texts_of).collect();
    let score = |from: usize, to: usize| {
        let (numbers, texts) = (&numbers[from * width..to * width], &words[from * texts..to * texts]);
        booster.raw(&Rows { count: to - from, numbers: Numbers::Double(numbers), texts })
    };
    match score(0, COUNT) {
        Ok(scores) => {
            let alone: Vec<_> = (0..COUNT).map(|row| score(row, row + 1).expect("a row that was taken")).collect();
            assert_eq!(bits(&scores).len(), COUNT * booster.scores());
            assert_eq!(bits(&scores), alone.iter().flat_map(bits).collect::<Vec<_>>(), "a row alone scores the same");
            let classes = booster.classify(&scores);
            assert!(classes.is_none_or(|(_, classes)| classes.len() == COUNT));
            _ = booster.decide(&scores);
            _ = booster.outputs(scores);
        }
        // A text that the model does not know, or one that is missing.
        Err(error) => assert!(matches!(error, BoosterError::Value { .. }) && texts > 0, "{error}"),
    }
}

fn bits(scores: &Scores) -> Vec<u64> {
    // The bits of a NaN depend on the order of an addition's operands.
    match scores {
        Scores::Single(values) => {
            values.iter().map(|value| if value.is_nan() { 1 } else { u64::from(value.to_bits()) }).collect()
        }
        Scores::Double(values) => values.iter().map(|value| if value.is_nan() { 1 } else { value.to_bits() }).collect(),
    }
}
