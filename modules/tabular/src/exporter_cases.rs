//! Configs as the Python exporter writes them, with scikit-learn's own matrices (`modules/exporter/tests` makes the file).

use modelgate_module::{
    Datatype,
    testing::{Host, Value},
};
use serde_json::Value as Json;

use crate::Tabular;

/// Single precision against double, with room for one rounding.
const TOLERANCE: f64 = 2e-7;

fn value(json: &Json, datatype: Datatype) -> Value {
    match (json, datatype) {
        (Json::Null, _) => Value::Missing,
        (Json::Bool(value), _) => Value::from(*value),
        (Json::String(text), _) => Value::from(text.as_str()),
        (number, Datatype::I64) => Value::from(number.as_i64().expect("an integer")),
        (number, _) => Value::from(number.as_f64().expect("a number")),
    }
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Float(number) => *number,
        Value::Missing => f64::NAN,
        other => panic!("expected a number, got {other:?}"),
    }
}

#[test]
fn every_config_agrees_with_scikit_learn() {
    let cases: Vec<Json> = serde_json::from_str(include_str!("../tests/data/sklearn_cases.json")).expect("JSON");
    assert!(cases.len() > 100, "{} cases", cases.len());
    for case in &cases {
        let name = case["name"].as_str().expect("a name");
        let started = Host::new().start::<Tabular>(&case["config"].to_string());
        let mut module = started.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let inputs = module.signature().inputs.clone();
        let rows = case["rows"].as_array().expect("rows").iter();
        let rows = rows.map(|row| inputs.iter().map(|column| value(&row[&column.name], column.datatype)).collect());
        let answers = module.run(rows.collect()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let expected = case["matrix"].as_array().expect("a matrix");
        assert_eq!(answers.len(), expected.len(), "{name}");
        for (row, (answer, expected)) in answers.iter().zip(expected).enumerate() {
            let ours: Vec<f64> = match &answer[0] {
                Value::List(values) => values.iter().map(number).collect(),
                other => vec![number(other)],
            };
            let expected = expected.as_array().expect("a row");
            assert_eq!(ours.len(), expected.len(), "{name}: width of row {row}");
            for (place, (ours, expected)) in ours.iter().zip(expected).enumerate() {
                let expected = expected.as_f64().unwrap_or(f64::NAN);
                let same = (ours.is_nan() && expected.is_nan())
                    || (ours - expected).abs() <= TOLERANCE * expected.abs().max(1.0);
                assert!(same, "{name}: row {row}, place {place}: got {ours}, expected {expected}");
            }
        }
    }
}
