//! Models of XGBoost, LightGBM and CatBoost in their own formats, over a socket.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::support::{BundleFolder, Gateway, sha256};

const SAMPLE: &str = "crates/boosters/reference/sample";

/// A case of the booster crate: its model's file, rows, raw scores, and outputs.
struct Case {
    file: String,
    rows: Vec<Vec<Option<f64>>>,
    texts: Vec<(usize, Vec<Option<String>>)>,
    raw: Vec<Vec<f64>>,
    outputs: Vec<Vec<f64>>,
}

fn read(name: &str) -> Vec<u8> {
    fs::read(Path::new(SAMPLE).join(name)).expect("a file of the sample")
}

fn array(array: &Value) -> Vec<Vec<f64>> {
    let bytes = read(array["file"].as_str().expect("a file"));
    let values: Vec<f64> = match array["type"].as_str() {
        Some("float32") => bytes.as_chunks().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect(),
        _ => bytes.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect(),
    };
    let width = usize::try_from(array["shape"][1].as_u64().expect("a width")).expect("small");
    values.chunks(width).map(<[f64]>::to_vec).collect()
}

fn case(name: &str) -> Case {
    let case: Value = serde_json::from_slice(&read(&format!("{name}.case.json"))).expect("JSON");
    let rows = array(&case["rows"]).into_iter().take(20);
    let missing = |row: Vec<f64>| row.into_iter().map(|value| (!value.is_nan()).then_some(value)).collect();
    let texts = case["texts"].as_object().cloned().unwrap_or_default().into_iter().map(|(place, file)| {
        let texts = serde_json::from_slice(&read(file.as_str().expect("a file"))).expect("a list of texts");
        (place.parse().expect("a place"), texts)
    });
    Case {
        file: case["model"].as_str().expect("a file").to_owned(),
        rows: rows.map(missing).collect(),
        texts: texts.collect(),
        raw: array(&case["raw"]),
        outputs: array(&case["outputs"]),
    }
}

impl Case {
    /// The raw scores of a row, as an answer has them.
    fn raw(&self, row: usize) -> Value {
        match self.raw[row].as_slice() {
            [one] => json!(one),
            several => json!(several),
        }
    }
}

/// A bundle of a model alone, with a row that it is known to answer.
fn bundle(file: &str, golden: &Value) -> BundleFolder {
    let (model, golden) = (read(file), golden.to_string());
    let bundle = BundleFolder::model_alone("booster", &model);
    fs::rename(bundle.file("model.onnx"), bundle.file(file)).expect("renamed");
    bundle.write("golden.json", golden.as_bytes());
    bundle.edit_manifest("model.onnx", file);
    let digest = sha256(golden.as_bytes());
    bundle.edit_manifest("[[stage]]", &format!("[golden]\nfile = \"golden.json\"\nsha256 = \"{digest}\"\n\n[[stage]]"));
    bundle
}

fn floats(value: &Value) -> Vec<f64> {
    match value.as_array() {
        Some(list) => list.iter().map(|value| value.as_f64().expect("a number")).collect(),
        None => vec![value.as_f64().expect("a number")],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn boosters_are_served_from_their_own_files() {
    for (name, output) in [
        ("xgb-binary", "probabilities"),
        ("xgb-multi-ubj", "probabilities"),
        ("xgb-regression-ubj", "prediction"),
        ("lgb-multi", "probabilities"),
        ("lgb-categories", "prediction"),
        ("cat-binary-cbm", "probabilities"),
        ("cat-binary-json", "probabilities"),
    ] {
        let case = case(name);
        let known = if output == "prediction" { "prediction" } else { "raw" };
        let golden = json!({ "examples": [{ "input": { "input": case.rows[0] }, "output": { known: case.raw(0) } }] });
        let bundle = bundle(&case.file, &golden);
        let gateway = Gateway::serving(&[bundle.path()], |_| {}).await;
        let rows: Vec<Value> = case.rows.iter().map(|row| json!({ "input": row })).collect();
        let answer = gateway.post("/predict?outputs=all", json!(rows).to_string().into(), &[]).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        let outputs = answer.json()["outputs"].clone();
        for row in 0..case.rows.len() {
            let found = floats(&outputs[output][row]);
            let expected = &case.outputs[row];
            let found = if found.len() > expected.len() { &found[1..] } else { &found[..] };
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-7 * expected.abs(), "{name}, row {row}: {found} for {expected}");
            }
            if output == "probabilities" {
                // Numbers of single precision are written as short as they can be.
                let close = |(found, expected): (&f64, &f64)| (*found as f32).to_bits() == (*expected as f32).to_bits();
                assert!(floats(&outputs["raw"][row]).iter().zip(&case.raw[row]).all(close), "{name}, row {row}");
            }
        }
    }
}

/// A row of named columns.
fn named(case: &Case, row: usize) -> Value {
    let mut numbers = case.rows[row].iter();
    let value = |place: usize| match case.texts.iter().find(|(of, _)| *of == place) {
        Some((_, texts)) => json!(texts[row]),
        None => json!(numbers.next().expect("a number")),
    };
    let values: Vec<Value> = (0..12).map(value).collect();
    Value::Object(values.into_iter().enumerate().map(|(place, value)| (format!("f{place}"), value)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn named_features_are_columns_and_categories_are_texts() {
    for (name, output) in [("cat-ctrs-cbm", "raw"), ("xgb-frame-ubj", "prediction")] {
        let case = case(name);
        let golden = json!({ "examples": [{ "input": named(&case, 0), "output": { output: case.raw(0) } }] });
        let bundle = bundle(&case.file, &golden);
        let gateway = Gateway::serving(&[bundle.path()], |_| {}).await;
        let rows: Vec<Value> = (0..case.rows.len()).map(|row| named(&case, row)).collect();
        let answer = gateway.post("/predict?outputs=all", json!(rows).to_string().into(), &[]).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
        for (row, score) in answer.json()["outputs"][output].as_array().expect("a list").iter().enumerate() {
            let (found, expected) = (score.as_f64().expect("a number"), case.raw[row][0]);
            // Numbers of single precision are written as short as they can be.
            assert_eq!((found as f32).to_bits(), (expected as f32).to_bits(), "{name}, row {row}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_category_that_xgboost_never_saw_is_the_callers_mistake() {
    let case = case("xgb-frame-ubj");
    let golden = json!({ "examples": [{ "input": named(&case, 0), "output": { "prediction": case.raw(0) } }] });
    let bundle = bundle(&case.file, &golden);
    let gateway = Gateway::serving(&[bundle.path()], |_| {}).await;
    for (column, value) in [("f1", json!("black")), ("f5", json!(7))] {
        let mut row = named(&case, 1);
        row[column] = value;
        let answer = gateway.predict(json!([named(&case, 0), row]).to_string()).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        assert!(answer.text.contains("the model was not trained with this category"), "{}", answer.text);
        assert!(answer.text.contains(column), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booster_that_is_not_read_is_told_in_a_sentence() {
    let bundle = BundleFolder::model_alone("booster", b"{\"learner\": {}}");
    let refusal = crate::support::refusal(bundle.path()).await;
    assert!(refusal.contains("the XGBoost model is corrupt: 'learner_model_param' is missing"), "{refusal}");
}

#[test]
fn a_boosters_file_is_wrapped_and_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_modelgate"));
        command.args(args).env("MODELGATE_CODE_CACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/code"));
        let output = command.output().expect("the binary runs");
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    for file in ["lgb-multi.txt", "xgb-frame-ubj.ubj", "cat-binary-json.json"] {
        let model = format!("{SAMPLE}/{file}");
        let out = folder.path().join(file);
        let out = out.to_str().expect("UTF-8");
        let (is_done, told) = run(&["wrap", &model, out]);
        assert!(is_done, "{file}: {told}");
        for checked in [out, &model] {
            let (is_done, told) = run(&["check", checked]);
            assert!(is_done, "{checked}: {told}");
        }
    }
}

#[test]
fn a_python_object_gets_the_sentence_that_helps() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, bytes).expect("written");
        path
    };
    let pickle = b"\x80\x04\x95\x0b\0\0\0\0\0\0\0}\x94.";
    let logged = file("logged/MLmodel", b"flavors: {}\n").parent().expect("a folder").to_path_buf();
    let named = [file("model.pkl", pickle), file("model.joblib", pickle), file("model.skops", b"PK\x03\x04"), logged];
    for path in named {
        let path = path.to_str().expect("UTF-8");
        for command in ["serve", "check", "inspect"] {
            let mut run = Command::new(env!("CARGO_BIN_EXE_modelgate"));
            let output =
                run.args([command, path]).args(if command == "serve" { &["--listen", "127.0.0.1:0"][..] } else { &[] });
            let output = output.output().expect("the binary runs");
            let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(!output.status.success(), "{command} {path}");
            assert!(told.contains(&format!("`modelgate-export {path} BUNDLE`")), "{command} {path}: {told}");
        }
    }
}
