//! Against scikit-learn's own answers, and against data and configurations that must be refused.

use modelgate_module::testing::{Host, Row, Running, Value, rows};
use modelgate_module::{Datatype, Error, Problem};
use serde::Deserialize;

use crate::Tabular;

#[derive(Deserialize)]
struct Case {
    name: String,
    config: serde_json::Value,
    rows: Vec<Vec<serde_json::Value>>,
    /// NaN is null.
    expected: Vec<Vec<Option<f64>>>,
}

fn start(config: &str) -> Running<Tabular> {
    Host::new().start(config).unwrap()
}

/// A JSON value as one of the column's datatype.
fn value(json: &serde_json::Value, datatype: Datatype) -> Value {
    match json {
        serde_json::Value::Null => Value::Missing,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::String(text) => text.as_str().into(),
        number if datatype == Datatype::F64 => number.as_f64().unwrap().into(),
        number => number.as_i64().unwrap().into(),
    }
}

/// The bits of a row of the matrix: any NaN is the same, and 0 is -0.
fn bits(row: impl Iterator<Item = f64>) -> Vec<u64> {
    row.map(|value| if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }).collect()
}

fn matrix_row(row: &Row) -> Vec<f64> {
    let [Value::List(values)] = row.as_slice() else { panic!("expected one matrix, got {row:?}") };
    values.iter().map(|value| if let Value::Float(value) = value { *value } else { panic!("{value:?}") }).collect()
}

#[test]
fn equals_scikit_learn_to_the_last_bit() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../tests/reference.json")).unwrap();
    assert!(cases.len() > 20);
    for Case { name, config, rows, expected } in cases {
        let mut tabular = start(&config.to_string());
        let datatypes: Vec<_> = tabular.signature().inputs.iter().map(|column| column.datatype).collect();
        let rows: Vec<Row> = rows
            .iter()
            .map(|row| row.iter().zip(&datatypes).map(|(json, datatype)| value(json, *datatype)).collect())
            .collect();
        let got = tabular.run(rows.clone()).unwrap();
        assert_eq!(got.len(), expected.len(), "{name}");
        for (place, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let expected: Vec<f64> = expected.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
            let got = matrix_row(got);
            assert_eq!(
                bits(got.iter().copied()),
                bits(expected.iter().copied()),
                "{name}, row {place}: expected {expected:?}, got {got:?}"
            );
        }
        // A row alone gives what it gives among others.
        for (row, among) in rows.iter().zip(&got).take(3) {
            let alone = tabular.run(vec![row.clone()]).unwrap();
            assert_eq!(bits(matrix_row(&alone[0]).into_iter()), bits(matrix_row(among).into_iter()), "{name}");
        }
        assert_eq!(tabular.run(Vec::new()).unwrap(), Vec::<Row>::new());
    }
}

/// Two numbers and a string; `number` and `text` are the steps of their blocks.
fn config(number: &str, text: &str) -> String {
    format!(
        r#"{{
            "inputs": [
                {{"name": "a", "datatype": "f64"}},
                {{"name": "b", "datatype": "f32", "nullable": true}},
                {{"name": "s", "datatype": "bytes", "nullable": true}},
                {{"name": "unused", "datatype": "f64"}}
            ],
            "output": {{"name": "X", "datatype": "f32"}},
            "blocks": [
                {{"columns": ["b", "a"], "steps": [{number}]}},
                {{"columns": ["s"], "steps": [{text}]}}
            ]
        }}"#
    )
}

const ONE_HOT: &str = r#"{"op": "one_hot", "categories": [["x", "y"]], "unknown": "error"}"#;

#[test]
fn blocks_and_columns_keep_their_order() {
    let mut tabular = start(&config("", ONE_HOT));
    assert_eq!(tabular.signature().outputs[0].shape, [-1, 4]);
    assert_eq!(tabular.signature().inputs[2].categories, ["x", "y"]);
    let got = tabular.run(rows![[1.0, 2.0, "y", 0.0], [3.0, 4.5, "x", 0.0]]).unwrap();
    assert_eq!(got, rows![[[2.0, 1.0, 0.0, 1.0]], [[4.5, 3.0, 1.0, 0.0]]]);
}

#[test]
fn a_lone_missing_number_reaches_the_model_as_nan() {
    let mut tabular = start(&config("", ONE_HOT));
    let got = tabular.run(vec![vec![1.0.into(), Value::Missing, "y".into(), 0.0.into()]]).unwrap();
    assert!(matrix_row(&got[0])[0].is_nan());
}

#[test]
fn an_indicator_stays_as_it_is_behind_the_block() {
    let steps = r#"{"op": "impute", "values": [5, 6], "indicator": [0]}, {"op": "max_abs", "scale": [2, 4]}"#;
    let mut tabular = start(&config(steps, ONE_HOT));
    let got = tabular.run(vec![vec![1.0.into(), Value::Missing, "y".into(), 0.0.into()]]).unwrap();
    assert_eq!(got, rows![[[2.5, 0.25, 1.0, 0.0, 1.0]]]);
    let mut tabular = start(&config(
        "",
        r#"{"op": "impute", "values": ["x"], "indicator": [0]}, {"op": "ordinal", "categories": [["y", "x"]], "unknown": "error"}"#,
    ));
    let got = tabular.run(vec![vec![1.0.into(), 2.0.into(), Value::Missing, 0.0.into()]]).unwrap();
    assert_eq!(got, rows![[[2.0, 1.0, 1.0, 1.0]]]);
}

#[test]
fn missing_makes_a_number_that_later_steps_touch() {
    let steps = r#"{"op": "missing"}, {"op": "standard", "mean": [0.5], "scale": [0.25]}"#;
    let mut tabular = start(&config("", steps));
    let present = vec![1.0.into(), 2.0.into(), "anything".into(), 0.0.into()];
    let missing = vec![1.0.into(), 2.0.into(), Value::Missing, 0.0.into()];
    let got = tabular.run(vec![present, missing]).unwrap();
    assert_eq!(got, rows![[[2.0, 1.0, -2.0]], [[2.0, 1.0, 2.0]]]);
}

#[test]
fn refuses_values_with_column_row_and_what_was_expected() {
    let mut tabular = start(&config("", ONE_HOT));
    let mut refused = |row: Row| {
        let error = tabular.run(vec![rows![[1.0, 2.0, "x", 0.0]].remove(0), row]).unwrap_err();
        let Error::InvalidInput(problems) = error else { panic!("{error}") };
        problems
    };
    let problem = |column: &str, message: &str| Problem::at(column, 1, message);
    assert_eq!(
        refused(rows![[f64::NAN, 2.0, "z", f64::INFINITY]].remove(0)),
        [
            problem("a", "expected a finite number, got NaN"),
            problem("s", r#"expected one of "x", "y", got "z""#),
            problem("unused", "expected a finite number, got inf"),
        ]
    );
    assert_eq!(
        refused(vec![1e300.into(), f32::NEG_INFINITY.into(), Value::Missing, 0.0.into()]),
        [
            problem("b", "expected a finite number, got -inf"),
            problem("a", &format!("expected a number that the model's precision can hold, got {}", 1e300)),
            problem("s", r#"expected one of "x", "y", got a missing value"#),
        ]
    );
    let long = "z".repeat(1000);
    assert!(refused(vec![1.0.into(), 1.0.into(), long.into(), 0.0.into()])[0].message.len() < 120);
    assert!(refused(vec![1.0.into(), 1.0.into(), vec![0xffu8, 0xfe].into(), 0.0.into()])[0].message.contains("got"));
}

#[test]
fn a_refused_batch_names_the_right_row_beyond_the_first_tile() {
    let mut tabular = start(&config("", ONE_HOT));
    let mut rows = vec![rows![[1.0, 2.0, "x", 0.0]].remove(0); 200];
    rows[130][2] = "q".into();
    let Error::InvalidInput(problems) = tabular.run(rows).unwrap_err() else { panic!() };
    assert_eq!(problems[0].row, Some(130));
}

#[test]
fn a_wrong_configuration_says_where() {
    let wrong = [
        (
            config(r#"{"op": "max_abs", "scale": [1]}"#, ONE_HOT),
            "block 0, step 0 (max_abs): `scale` has 1 entries: expected 2",
        ),
        (
            config(r#"{"op": "max_abs", "scale": [1, 0]}"#, ONE_HOT),
            "block 0, step 0 (max_abs): column 'a' has a `scale` of 0",
        ),
        (config(r#"{"op": "max_abs"}"#, ONE_HOT), "block 0, step 0 (max_abs): `scale` is missing"),
        (
            config(r#"{"op": "cast", "to": "i64"}, {"op": "halve"}"#, ONE_HOT),
            "block 0, step 1 (halve): no such operation",
        ),
        (config(r#"{"op": "cast", "to": "u8"}"#, ONE_HOT), r#"`to`: expected "i64" or "f32", got "u8""#),
        (config(r#"{"op": "cast", "to": "i64", "drop": []}"#, ONE_HOT), "(cast): `drop` does not belong here"),
        (config("", ""), "block 1: column 's' is text: expected a step `one_hot` or `ordinal`"),
        (config("", r#"{"op": "cast", "to": "i64"}"#), "block 1, step 0 (cast): column 's' is text: expected numbers"),
        (config("", &format!(r#"{ONE_HOT}, {{"op": "max_abs", "scale": [1]}}"#)), "column 's' is one-hot by now"),
        (
            config("", r#"{"op": "one_hot", "categories": [["x"]]}"#),
            r#"`unknown`: expected "ignore", "error" or "infrequent", got nothing"#,
        ),
        (
            config("", r#"{"op": "one_hot", "categories": [["x", "x"]], "unknown": "error"}"#),
            r#"column 's' has the category "x" twice"#,
        ),
        (
            config("", r#"{"op": "one_hot", "categories": [[1]], "unknown": "error"}"#),
            "expected strings as categories, got 1",
        ),
        (
            config("", r#"{"op": "one_hot", "categories": [["x"]], "unknown": "error", "drop": [1]}"#),
            "there is no place 1",
        ),
        (config("", r#"{"op": "ordinal", "categories": [["x"]], "unknown": "value"}"#), "`unknown_value` is missing"),
        (
            config(r#"{"op": "impute", "values": [1, "x"]}"#, ONE_HOT),
            "column 'a' holds numbers: expected a number or a boolean, got \"x\"",
        ),
        (
            config(r#"{"op": "impute", "values": [1, 2], "indicator": [2]}"#, ONE_HOT),
            "`indicator`: there is no column 2",
        ),
        (
            config(r#"{"op": "min_max", "scale": [1, 1], "min": [0, 0], "clip": [1, 0]}"#, ONE_HOT),
            "`clip`: expected [low, high]",
        ),
        (config(r#"{"op": "cast", "too": "i64"}"#, ONE_HOT), "unknown field `too`"),
        (config("", ONE_HOT).replace(r#""s"]"#, r#""t"]"#), "block 1: column 't' is not among the inputs"),
        (config("", ONE_HOT).replace("\"bytes\"", "\"text\""), "input 's': expected a datatype"),
        (
            config("", ONE_HOT).replace("\"X\", \"datatype\": \"f32\"", "\"X\", \"datatype\": \"i64\""),
            "output 'X': expected datatype f32 or f64",
        ),
        (config("", ONE_HOT).replace("\"unused\"", "\"a\""), "column 'a': named twice"),
        (
            r#"{"inputs": [], "output": {"name": "X", "datatype": "f32"}, "blocks": []}"#.to_owned(),
            "`blocks` give no column",
        ),
        (String::new(), "missing field `inputs`"),
        (config("", r#"{"op": "one_hot", "categories": [[9007199254740993]], "unknown": "error"}"#), "below 2^53"),
    ];
    for (config, expected) in wrong {
        let error = Host::new().start::<Tabular>(&config).err().unwrap_or_else(|| panic!("took {config}"));
        assert!(error.to_string().contains(expected), "expected {expected:?} in {:?}", error.to_string());
    }
}

/// The bundles of this repository, which the exporter made.
#[test]
fn takes_what_the_exporter_writes() {
    let bundles = [
        (include_str!("../../../gateway/demo/preprocess.json"), include_str!("../../../gateway/demo/golden.json")),
        (
            include_str!("../../../gateway/tests/data/bundles/iris_like/preprocess.json"),
            include_str!("../../../gateway/tests/data/bundles/iris_like/golden.json"),
        ),
        (
            include_str!("../../../gateway/tests/data/bundles/house_like/preprocess.json"),
            include_str!("../../../gateway/tests/data/bundles/house_like/golden.json"),
        ),
    ];
    for (config, golden) in bundles {
        let mut tabular = start(config);
        let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
        let columns = tabular.signature().inputs.clone();
        let row = |example: &serde_json::Value| -> Row {
            columns.iter().map(|column| value(&example["input"][&column.name], column.datatype)).collect()
        };
        let rows: Vec<Row> = golden["examples"].as_array().unwrap().iter().map(row).collect();
        assert!(!rows.is_empty());
        let width = tabular.signature().outputs[0].row_size().unwrap();
        for row in tabular.run(rows).unwrap() {
            let row = matrix_row(&row);
            assert_eq!(row.len(), width);
            assert!(row.iter().all(|value| value.is_finite()), "{row:?}");
        }
    }
}

const TEXTS: &str = r#"{
    "inputs": [
        { "name": "stars", "datatype": "i64" },
        { "name": "review", "datatype": "bytes", "nullable": true },
        { "name": "title", "datatype": "bytes" }
    ],
    "output": { "name": "X", "datatype": "f64" },
    "blocks": [{ "columns": ["stars"] }],
    "texts": [{ "column": "title" }, { "column": "review", "missing": "?" }]
}"#;

#[test]
fn hands_texts_on() {
    let mut tabular = start(TEXTS);
    let names: Vec<_> = tabular.signature().outputs.iter().map(|column| column.name.clone()).collect();
    assert_eq!(names, ["X", "title", "review"]);
    let rows: Vec<Row> =
        vec![vec![4_i64.into(), "good ñ".into(), "".into()], vec![1_i64.into(), Value::Missing, "bad".into()]];
    let got = tabular.run(rows).unwrap();
    let text = |text: &str| Value::List(vec![text.into()]);
    assert_eq!(got[0][1..], [text(""), text("good ñ")]);
    assert_eq!(got[1][1..], [text("bad"), text("?")]);
    assert_eq!(matrix_row(&got[1][..1].to_vec()), [1.0]);
}

#[test]
fn refuses_texts_that_it_cannot_hand_on() {
    for (from, to, message) in [
        (r#"{ "column": "title" }"#, r#"{ "column": "tilte" }"#, "texts: column 'tilte' is not among the inputs"),
        (r#"{ "column": "title" }"#, r#"{ "column": "stars" }"#, "texts: column 'stars' is no text"),
        (r#", "missing": "?""#, "", "texts: column 'review' is nullable: expected `missing`"),
        (r#"{ "column": "title" }"#, r#"{ "column": "review", "missing": "" }"#, "is the name of another output"),
    ] {
        let error = Host::new().start::<Tabular>(&TEXTS.replace(from, to)).err().unwrap_or_else(|| panic!("took {to}"));
        assert!(error.to_string().contains(message), "{error}");
    }
}
