//! Models that the libraries trained, and what they predict themselves (`reference/generate.py --sample`).

mod support;

use std::path::Path;

use modelgate_boosters::{Booster, BoosterError, Numbers, Rows, Scores};
use support::Case;

fn cases() -> Vec<Case> {
    Case::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/sample"))
}

#[test]
fn raw_scores_are_the_libraries_own_to_the_bit() {
    let cases = cases();
    assert_eq!(cases.len(), 14);
    for case in cases {
        let booster = Booster::read(&case.bytes()).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let outcome = case.compare(&booster);
        assert_eq!(outcome.raw, 0, "{}", case.name);
        assert!(outcome.outputs.unwrap_or(0) <= 2, "{}: {:?} ulp", case.name, outcome.outputs);
        assert_eq!(outcome.labels.unwrap_or(0), 0, "{}", case.name);
        assert!(outcome.rows > 100 && booster.bytes() > 0 && !booster.version().is_empty(), "{}", case.name);
    }
}

#[test]
fn a_row_alone_scores_as_among_others() {
    for case in cases() {
        let booster = Booster::read(&case.bytes()).expect("a model");
        assert_eq!(case.row_by_row(&booster), 0, "{}", case.name);
    }
}

/// No file may end in anything but a model or an error.
#[test]
fn damaged_files_are_errors() {
    for case in cases() {
        let bytes = case.bytes();
        let step = (bytes.len() / 97).max(1);
        for end in (0..bytes.len()).step_by(step) {
            // A text without its last line may still be whole.
            _ = Booster::read(&bytes[..end]);
        }
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..150 {
            let mut damaged = bytes.clone();
            for _ in 0..3 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let index = (state >> 16) as usize % damaged.len();
                damaged[index] = state as u8;
            }
            if let Ok(booster) = Booster::read(&damaged) {
                score_something(&booster);
            }
        }
    }
}

/// A model that is read has to score any row.
fn score_something(booster: &Booster) {
    let kinds = booster.features();
    let texts = kinds.iter().filter(|&&kind| kind == modelgate_boosters::Kind::Category).count();
    let width = kinds.len() - texts;
    if width > 1_000 {
        return;
    }
    for value in [0.0, f32::NAN, 1e9, -3.5] {
        for count in [1, 20] {
            let numbers = vec![value; width * count];
            let texts: Vec<Option<&[u8]>> = vec![Some(b"red"); texts * count];
            let rows = Rows { count, numbers: Numbers::Single(&numbers), texts: &texts };
            match booster.raw(&rows) {
                Ok(raw) => {
                    _ = booster.classify(&raw);
                    _ = booster.outputs(raw);
                }
                Err(error) => assert!(matches!(error, BoosterError::Value { .. }), "{error}"),
            }
        }
    }
}

#[test]
fn other_files_are_told_apart() {
    for other in [&b""[..], b"\x08\x07\x12\x07skl2onnx", b"tree of life", b"PK\x03\x04", b"[1,2]", b"{", b"CBM"] {
        assert!(!Booster::is_one(other) || Booster::read(other).is_err());
    }
    assert!(matches!(Booster::read(b"\x08\x07\x12\x07skl2onnx"), Err(BoosterError::Unknown)));
    let deep = [b"{\"learner\":".repeat(100_000), b"1".to_vec()].concat();
    assert!(matches!(Booster::read(&deep), Err(BoosterError::Corrupt { library: "XGBoost", .. })));
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    for case in cases() {
        let booster = Booster::read(&case.bytes()).expect("a model");
        let rows = Rows { count: 2, numbers: Numbers::Single(&[0.0; 7]), texts: &[] };
        assert!(matches!(booster.raw(&rows), Err(BoosterError::Rows(_))), "{}", case.name);
        let none = Rows { count: 0, numbers: Numbers::Double(&[]), texts: &[] };
        let empty = booster.raw(&none).expect("no rows");
        assert!(
            matches!(empty, Scores::Single(ref scores) if scores.is_empty())
                || matches!(empty, Scores::Double(ref scores) if scores.is_empty())
        );
    }
}

#[test]
fn a_model_of_two_classes_has_one_score() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/sample/xgb-binary.json");
    let text = std::fs::read_to_string(sample).expect("a sample");
    let odd = text.replace("\"num_class\":\"0\"", "\"num_class\":\"5\"");
    assert!(Booster::read(text.as_bytes()).is_ok() && odd != text);
    let error = Booster::read(odd.as_bytes()).expect_err("five scores").to_string();
    assert!(error.contains("'binary:logistic' has one score a row, and the trees have 5"), "{error}");
}
