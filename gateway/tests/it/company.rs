//! A row's answer is the same whatever other callers send beside it: graphs of all kinds, of which some let rows meet, and
//! modules that do.
//!
//! `MODELGATE_ROUNDS` says how often the same row is sent; `make company` sends it 1,000 times.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use modelgate_onnx::{Model, ModelLimits};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{BundleFolder, Gateway};

/// Callers that send other data.
const OTHERS: usize = 16;

/// Bundles in one gateway.
const TOGETHER: usize = 8;

/// Graphs that let rows meet.
const DEPENDENT: [&str; 20] = [
    "cumulative_over_rows",
    "distances",
    "dynamic_attention",
    "dynamic_conv",
    "dynamic_matmul",
    "dynamic_mlp",
    "first_row",
    "greatest_row",
    "gru_sequence_first",
    "joined_rows",
    "log_softmax_over_rows",
    "lstm_sequence_first",
    "maximum_of_all",
    "maximum_over_rows",
    "mean_over_rows",
    "number_of_rows",
    "rnn_sequence_first",
    "rows_in_another_order",
    "softmax_over_rows",
    "standardised_over_rows",
];

/// As `tests/data/make_company.py` writes it.
#[derive(Deserialize)]
struct Case {
    input: String,
    datatype: String,
    row: Vec<usize>,
    rows: Vec<Vec<Value>>,
    alone: serde_json::Map<String, Value>,
    batch: serde_json::Map<String, Value>,
}

impl Case {
    /// A request of these rows.
    fn request(&self, rows: &[Vec<Value>]) -> String {
        let shape: Vec<usize> = [&[rows.len()], &self.row[..]].concat();
        let input = json!({ "name": self.input, "datatype": self.datatype, "shape": shape, "data": rows.concat() });
        json!({ "inputs": [input] }).to_string()
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has no configuration of its own")]
fn rounds() -> usize {
    std::env::var("MODELGATE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(60)
}

async fn infer(gateway: &Gateway, model: &str, body: String) -> Value {
    let answer = gateway.post(&format!("/v2/models/{model}/infer"), body.into_bytes(), &[]).await;
    assert_eq!(answer.status, 200, "{model}: {}", answer.text);
    answer.json()["outputs"].clone()
}

/// The same request again and again while others send theirs; every answer that came.
async fn beside(gateway: &Arc<Gateway>, model: &str, mine: String, others: &[String]) -> BTreeSet<String> {
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..OTHERS)
        .map(|caller| {
            let (gateway, stop, model) = (Arc::clone(gateway), Arc::clone(&stop), model.to_owned());
            let others = others.to_vec();
            tokio::spawn(async move {
                for request in others.iter().cycle().skip(caller) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    infer(&gateway, &model, request.clone()).await;
                }
            })
        })
        .collect();
    let mut answers = BTreeSet::new();
    for _ in 0..rounds() {
        answers.insert(infer(gateway, model, mine.clone()).await.to_string());
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("every answer is one");
    }
    answers
}

/// The cause that decided whether rows of this model are run together.
async fn cause(gateway: &Gateway, model: &str) -> String {
    let config = gateway.get(&format!("/v2/models/{model}/config")).await.json();
    config["parameters"]["batching_cause"]["string_value"].as_str().unwrap_or_default().to_owned()
}

/// The answer of ONNX Runtime, but for rounding.
fn assert_near(model: &str, ours: &Value, theirs: &serde_json::Map<String, Value>) {
    for output in ours.as_array().expect("outputs") {
        let expected = &theirs[output["name"].as_str().expect("a name")];
        let values = |of: &Value| of.as_array().expect("a list").clone();
        let (ours, theirs) = (values(&output["data"]), values(&expected["values"]));
        let scale = theirs.iter().filter_map(Value::as_f64).fold(1e-3, |scale: f64, value| scale.max(value.abs()));
        assert_eq!(ours.len(), theirs.len(), "{model}: {output}");
        for (one, other) in ours.iter().zip(&theirs) {
            let near = match (one.as_f64(), other.as_f64()) {
                (Some(one), Some(other)) => (one - other).abs() <= 1e-4 * scale,
                _ => one == other,
            };
            assert!(near, "{model}: {one} for {other} in {output}");
        }
    }
}

/// The graphs that this gateway serves, and their cases.
fn cases() -> Vec<(String, Vec<u8>, Case)> {
    let mut cases: Vec<_> = fs::read_dir(Path::new("tests/data/company"))
        .expect("cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .map(|path| {
            let case = fs::read(path.with_extension("json")).expect("its answers");
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(&path).expect("a graph"), serde_json::from_slice(&case).expect("a case"))
        })
        .collect();
    cases.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(cases.len() > 30);
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_row_gets_the_same_answer_beside_others() {
    let loads = |onnx: &[u8]| Model::load(onnx, &ModelLimits::default()).map_err(|error| error.to_string());
    let (good, refused): (Vec<_>, Vec<_>) = cases().into_iter().partition(|(_, onnx, _)| loads(onnx).is_ok());
    let refused: Vec<_> = refused.iter().map(|(name, onnx, _)| format!("{name}: {:?}", loads(onnx).err())).collect();
    assert!(good.len() >= 30, "{refused:#?}");
    for group in good.chunks(TOGETHER) {
        let folders: Vec<_> = group.iter().map(|(name, onnx, _)| BundleFolder::model_alone(name, onnx)).collect();
        let paths: Vec<_> = folders.iter().map(BundleFolder::path).collect();
        let gateway = Arc::new(Gateway::serving(&paths, |_| ()).await);
        for (name, _, case) in group {
            let mine = case.request(&case.rows[..1]);
            let others: Vec<_> = case.rows[1..].iter().map(|row| case.request(std::slice::from_ref(row))).collect();
            let alone = infer(&gateway, name, mine.clone()).await;
            assert_near(name, &alone, &case.alone);
            assert_near(name, &infer(&gateway, name, case.request(&case.rows)).await, &case.batch);
            let answers = beside(&gateway, name, mine, &others).await;
            assert_eq!(answers, BTreeSet::from([alone.to_string()]), "{name}: {}", cause(&gateway, name).await);
            let is_dependent = cause(&gateway, name).await == "dependent";
            assert_eq!(is_dependent, DEPENDENT.contains(&name.as_str()), "{name}: {}", cause(&gateway, name).await);
        }
    }
}

fn act(x: f64) -> String {
    let input = |name: &str, datatype: &str, data: Value| json!({ "name": name, "datatype": datatype, "shape": [1], "data": [data] });
    json!({ "inputs": [input("act", "BYTES", "".into()), input("x", "FP64", x.into())] }).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_that_let_requests_meet_are_kept_from_it() {
    for (config, expected) in
        [(r#"{"do":"remember"}"#, "stateful"), (r#"{"do":"mean"}"#, "differs"), (r#"{"do":"by-row"}"#, "tried")]
    {
        let folder = BundleFolder::unruly("unruly", config, "");
        let gateway = Arc::new(Gateway::serving(&[folder.path()], |_| ()).await);
        let others: Vec<_> = (1..5).map(|x| act(f64::from(x) * 100.0)).collect();
        let answers = beside(&gateway, "unruly", act(0.5), &others).await;
        assert_eq!(answers.len(), 1, "{config}: {answers:?}");
        assert!(answers.iter().all(|answer| answer.contains("0.5")), "{config}: {answers:?}");
        assert_eq!(cause(&gateway, "unruly").await, expected, "{config}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_cannot_join_rows_that_meet() {
    let (_, onnx, _) = cases().into_iter().find(|(name, ..)| name == "softmax_over_rows").expect("the case");
    let folder = BundleFolder::model_alone("meets", &onnx);
    let manifest = fs::read_to_string(folder.file("bundle.toml")).expect("a manifest");
    folder.write("bundle.toml", format!("{manifest}[batching]\nenabled = true\ntolerance = 1e-2\n").as_bytes());
    let gateway = Gateway::serving(&[folder.path()], |_| ()).await;
    assert_eq!(cause(&gateway, "meets").await, "dependent");
    let metadata = gateway.get("/v2/models/meets").await.json();
    let batching = metadata["properties"]["batching"].as_str().expect("told").to_owned();
    assert!(
        batching.starts_with("off: 'Softmax' (node ") && batching.contains("normalises over the rows"),
        "{batching}"
    );
}
