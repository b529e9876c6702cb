//! Cases that `reference/generate.py` wrote: models, rows, and what the libraries themselves make of them.

#![allow(unreachable_pub, reason = "shared by a test and an example")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use modelgate_boosters::{Booster, Numbers, Rows, Scores};
use serde::Deserialize;

/// A case.
#[derive(Deserialize)]
pub struct Case {
    pub name: String,
    pub model: String,
    rows: Array,
    #[serde(default)]
    texts: BTreeMap<usize, String>,
    raw: Array,
    outputs: Option<Array>,
    labels: Option<Vec<String>>,
    #[serde(skip)]
    folder: PathBuf,
}

#[derive(Deserialize)]
struct Array {
    file: String,
    #[serde(rename = "type")]
    kind: String,
    shape: Vec<usize>,
}

/// The outcome of a comparison.
pub struct Outcome {
    pub rows: usize,
    /// The largest difference of raw scores in units of the last place.
    pub raw: u64,
    /// The same of outputs, as far as the case has them.
    pub outputs: Option<u64>,
    /// Rows with another class, as far as the case has them.
    pub labels: Option<usize>,
}

impl Case {
    /// Every case of a folder, by name.
    pub fn all(folder: &Path) -> Vec<Self> {
        let mut cases = Vec::new();
        for entry in std::fs::read_dir(folder).expect("a folder of cases") {
            let path = entry.expect("an entry").path();
            if path.to_string_lossy().ends_with(".case.json") {
                let text = std::fs::read(&path).expect("a case");
                let case: Self = serde_json::from_slice(&text).expect("a case");
                cases.push(Self { folder: folder.to_owned(), ..case });
            }
        }
        cases.sort_by(|one, other| one.name.cmp(&other.name));
        cases
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.folder.join(&self.model)).expect("a model")
    }

    /// Compares a model with its library.
    pub fn compare(&self, booster: &Booster) -> Outcome {
        let (rows, texts) = (self.array(&self.rows), self.texts());
        let count = self.rows.shape[0];
        let texts: Vec<Option<&[u8]>> = texts.iter().map(|text| text.as_deref().map(str::as_bytes)).collect();
        let numbers = match &rows {
            Scores::Single(values) => Numbers::Single(values),
            Scores::Double(values) => Numbers::Double(values),
        };
        let raw = booster.raw(&Rows { count, numbers, texts: &texts }).expect("rows that fit");
        let outputs = self.outputs.as_ref().map(|expected| {
            let found = match booster.classify(&raw) {
                Some((probabilities, _)) if expected.shape[1] > booster.scores() => probabilities,
                _ => booster.outputs(raw.clone()),
            };
            furthest(&found, &self.array(expected))
        });
        let labels = self.labels.as_ref().zip(booster.classify(&raw)).map(|(expected, (_, found))| {
            let name = |index: usize| booster.classes().get(index).cloned().unwrap_or_else(|| index.to_string());
            expected.iter().zip(found).filter(|(expected, found)| **expected != name(*found)).count()
        });
        Outcome { rows: count, raw: furthest(&raw, &self.array(&self.raw)), outputs, labels }
    }

    /// The largest difference of raw scores where each row is scored alone.
    #[allow(dead_code, reason = "the example does not use it")]
    pub fn row_by_row(&self, booster: &Booster) -> u64 {
        let (rows, texts, raw) = (self.array(&self.rows), self.texts(), self.array(&self.raw));
        let texts: Vec<Option<&[u8]>> = texts.iter().map(|text| text.as_deref().map(str::as_bytes)).collect();
        let count = self.rows.shape[0];
        let (width, text_width, scores) = (self.rows.shape[1], texts.len() / count, booster.scores());
        let each = (0..count).map(|row| {
            let (start, end) = (row * width, (row + 1) * width);
            let numbers = match &rows {
                Scores::Single(values) => Numbers::Single(&values[start..end]),
                Scores::Double(values) => Numbers::Double(&values[start..end]),
            };
            let texts = &texts[row * text_width..(row + 1) * text_width];
            let found = booster.raw(&Rows { count: 1, numbers, texts }).expect("a row that fits");
            let range = row * scores..(row + 1) * scores;
            let expected = match &raw {
                Scores::Single(values) => Scores::Single(values[range].to_vec()),
                Scores::Double(values) => Scores::Double(values[range].to_vec()),
            };
            furthest(&found, &expected)
        });
        each.max().unwrap_or(0)
    }

    fn texts(&self) -> Vec<Option<String>> {
        let columns: Vec<Vec<Option<String>>> = self
            .texts
            .values()
            .map(|file| serde_json::from_slice(&std::fs::read(self.folder.join(file)).expect("texts")).expect("texts"))
            .collect();
        let rows = columns.first().map_or(0, Vec::len);
        (0..rows).flat_map(|row| columns.iter().map(move |column| column[row].clone())).collect()
    }

    fn array(&self, array: &Array) -> Scores {
        let bytes = std::fs::read(self.folder.join(&array.file)).expect("an array");
        match array.kind.as_str() {
            "float32" => Scores::Single(bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect()),
            "float64" => Scores::Double(bytes.as_chunks().0.iter().copied().map(f64::from_le_bytes).collect()),
            other => panic!("no array of {other}"),
        }
    }
}

/// The largest difference in units of the last place.
fn furthest(found: &Scores, expected: &Scores) -> u64 {
    match (found, expected) {
        (Scores::Single(found), Scores::Single(expected)) => {
            assert_eq!(found.len(), expected.len(), "as many scores");
            let ordinal = |value: f32| {
                let bits = i64::from(value.to_bits().cast_signed());
                if bits < 0 { i64::from(i32::MIN) - bits } else { bits }
            };
            found.iter().zip(expected).map(|(&one, &other)| ordinal(one).abs_diff(ordinal(other))).max().unwrap_or(0)
        }
        (Scores::Double(found), Scores::Double(expected)) => {
            assert_eq!(found.len(), expected.len(), "as many scores");
            let ordinal = |value: f64| {
                let bits = i128::from(value.to_bits().cast_signed());
                if bits < 0 { i128::from(i64::MIN) - bits } else { bits }
            };
            let apart =
                |(&one, &other): (&f64, &f64)| u64::try_from((ordinal(one) - ordinal(other)).abs()).unwrap_or(u64::MAX);
            found.iter().zip(expected).map(apart).max().unwrap_or(0)
        }
        _ => panic!("scores of the same type"),
    }
}
