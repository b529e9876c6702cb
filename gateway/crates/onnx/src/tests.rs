//! Tests of the model as callers use it. Here: fixtures made by `tests/data/make_models.py`, against what ONNX Runtime said.

pub(crate) mod graph_parts;
mod mutated_graphs;
mod onnx_suite;
mod shapes;
mod tract_faults;
mod wrong_sizes;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use modelgate_columns::{Column, Datatype, Reader, Values, Writer};
use prost::Message;
use serde::Deserialize;
use serde_json::Value;
use tract_onnx::pb::ModelProto;

use super::{ComputeError, Mode, Model, ModelError, ModelLimits, Session};

#[derive(Deserialize)]
struct Case {
    shape: Vec<usize>,
    rows: Vec<Option<f64>>,
    outputs: Vec<Output>,
    library_labels: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    shape: Vec<usize>,
    values: Vec<Option<Value>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/models")
}

fn fixtures() -> Vec<(String, Vec<u8>, Case)> {
    let mut found: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let case = serde_json::from_slice(&fs::read(path.with_extension("json")).unwrap()).unwrap();
            (name, fs::read(&path).unwrap(), case)
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(found.len() > 50);
    found
}

fn load(name: &str) -> Arc<Model> {
    let bytes = fs::read(folder().join(name).with_extension("onnx")).unwrap();
    Arc::new(Model::load(&bytes, &ModelLimits::default()).unwrap())
}

fn pack(column: &Column, rows: &[f64]) -> Vec<u64> {
    let mut writer = Writer::default();
    match column.datatype {
        Datatype::F32 => writer.fixed(&rows.iter().map(|&value| value as f32).collect::<Vec<_>>()),
        Datatype::F64 => writer.fixed(rows),
        Datatype::I32 => writer.fixed(&rows.iter().map(|&value| value as i32).collect::<Vec<_>>()),
        Datatype::I64 => writer.fixed(&rows.iter().map(|&value| value as i64).collect::<Vec<_>>()),
        other => panic!("no fixture has {other} inputs"),
    }
    writer.finish()
}

/// All outputs of a batch, by column: numbers or strings.
fn compute(model: &Model, session: &mut Session, rows: &[f64], width: usize) -> Vec<Vec<Value>> {
    let count = (rows.len() / width) as u32;
    let words = session.compute(count, &pack(&model.signature().inputs[0], rows), None).unwrap();
    let mut reader = Reader::new(count, &words);
    let columns = model.signature().outputs.iter().map(|column| match reader.next(column).unwrap().values {
        Values::I64(values) => values.iter().map(|&value| value.into()).collect(),
        Values::F32(values) => values.iter().map(|&value| f64::from(value).into()).collect(),
        Values::Bytes(values) => values.iter().map(|value| str::from_utf8(value).unwrap().into()).collect(),
        other => panic!("{column} is {other:?}"),
    });
    let columns = columns.collect();
    reader.finish().unwrap();
    columns
}

/// Whether equal, or both numbers and near.
fn agree(ours: &Value, theirs: Option<&Value>, tolerance: f64) -> bool {
    match (ours.as_f64(), theirs.map(Value::as_f64)) {
        (Some(ours), Some(Some(theirs))) => (ours - theirs).abs() <= tolerance * theirs.abs().max(1.0),
        // JSON has no NaN.
        (None, None) => ours.is_null(),
        _ => Some(ours) == theirs,
    }
}

#[test]
fn answers_as_onnx_runtime_does() {
    let mut wrong = Vec::new();
    for (name, bytes, case) in fixtures() {
        let model = match Model::load(&bytes, &ModelLimits::default()) {
            Ok(model) => Arc::new(model),
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        let rows: Vec<f64> = case.rows.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
        let width = case.shape[1];
        // Near the middle, ONNX Runtime's PROBIT is mostly rounding.
        let tolerance = if name.contains("probit") { 3e-4 } else { 1e-5 };
        let mut session = model.session();
        // One row at a time, batches that do not fill the last group of rows, and all.
        for size in [1, 3, 13, case.shape[0]] {
            for (block, rows) in rows.chunks(width * size).enumerate() {
                let ours = compute(&model, &mut session, rows, width);
                for (ours, theirs) in ours.iter().zip(&case.outputs) {
                    let per_row = theirs.values.len() / theirs.shape[0];
                    let theirs = &theirs.values[block * size * per_row..];
                    if let Some(index) = (0..ours.len()).find(|&at| !agree(&ours[at], theirs[at].as_ref(), tolerance)) {
                        let row = block * size + index / per_row;
                        wrong.push(format!(
                            "{name}, {size} at a time, row {row}: {} for {:?}",
                            ours[index], theirs[index]
                        ));
                    }
                }
            }
        }
        let names: Vec<_> = case.outputs.iter().map(|output| &output.name).collect();
        assert_eq!(model.signature().outputs.iter().map(|column| &column.name).collect::<Vec<_>>(), names);
        if let Some(labels) = &case.library_labels {
            let ours = compute(&model, &mut session, &rows, width);
            if !ours[0].iter().zip(labels).all(|(ours, theirs)| agree(ours, Some(theirs), tolerance)) {
                wrong.push(format!("{name}: labels differ from the library's"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn models_are_shared_and_sessions_sent() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Model>();
    sent::<Session>();
}

#[test]
fn tells_its_signature() {
    let model = load("forest_strings");
    let signature = model.signature();
    assert_eq!(signature.inputs, [Column::new("X", Datatype::F32, [-1, 5])]);
    let outputs = [Column::scalar("label", Datatype::Bytes), Column::new("probabilities", Datatype::F32, [-1, 3])];
    assert_eq!(signature.outputs, outputs);
    assert!(model.resident_bytes() > 1000);
}

#[test]
fn refuses_words_of_another_layout() {
    let model = load("forest_multi");
    let refused = model.session().compute(2, &[0; 4], None);
    assert!(matches!(refused, Err(ComputeError::Input(error)) if error.column == "X"));
}

#[test]
fn keeps_to_the_deadline_and_goes_on_after_it() {
    let model = load("mlp");
    let mut session = model.session();
    let row = pack(&model.signature().inputs[0], &[0.0; 5]);
    assert!(matches!(session.compute(1, &row, Some(Instant::now())), Err(ComputeError::Deadline)));
    let ahead = Instant::now() + Duration::from_mins(1);
    assert!(session.compute(1, &row, Some(ahead)).is_ok());
}

#[test]
fn computes_no_rows() {
    for name in ["forest_strings", "mlp"] {
        let model = load(name);
        let words = model.session().compute(0, &[], None).unwrap();
        modelgate_columns::validate(&model.signature().outputs, 0, &words).unwrap();
    }
}

#[test]
fn survives_truncated_and_flipped_files() {
    let names = ["forest_multi", "xgboost_binary", "mlp", "mode_mixed_missing", "forest_strings"];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for name in names {
        let bytes = fs::read(folder().join(name).with_extension("onnx")).unwrap();
        for round in 0..300 {
            let mut bad = bytes.clone();
            if round % 3 == 0 {
                bad.truncate(random(bytes.len()));
            } else {
                for _ in 0..=random(3) {
                    let at = random(bad.len());
                    bad[at] ^= 1 << random(8);
                }
            }
            let Ok(model) = Model::load(&bad, &ModelLimits::default()).map(Arc::new) else { continue };
            let words: Option<usize> = model
                .signature()
                .inputs
                .iter()
                .map(|column| Some(column.row_size()?.checked_mul(column.datatype.size()?)?.div_ceil(8)))
                .sum();
            if let Some(words) = words.filter(|&words| words < 10_000) {
                let _ = model.session().compute(1, &vec![0x4000_0000_7fc0_0000; words], None);
            }
        }
    }
}

#[test]
fn names_every_unsupported_operator() {
    let error = Model::load(&graph_of(&["Frobnicate", "Relu", "Defenestrate", "Frobnicate"]), &ModelLimits::default());
    let Err(ModelError::Unsupported(message)) = error else { panic!("{error:?}") };
    assert_eq!(message, "Defenestrate ('n2'); Frobnicate ('n0', 'n3')");
}

#[test]
fn names_every_node_without_inputs() {
    for op in ["ReduceSum", "Relu", "Gather", "Softmax"] {
        let mut graph = ModelProto::decode(&graph_of(&[op])[..]).expect("a graph");
        graph.graph.as_mut().expect("there").node[0].input.clear();
        let error = Model::load(&graph.encode_to_vec(), &ModelLimits::default());
        let Err(ModelError::Unsupported(message)) = error else { panic!("{op}: {error:?}") };
        assert_eq!(message, format!("{op} without its first input ('n0')"));
    }
}

#[test]
fn names_every_node_whose_attributes_are_wrong() {
    let error = Model::load(&graph_of(&["Cast", "Relu", "TfIdfVectorizer", "Cast"]), &ModelLimits::default());
    let Err(ModelError::Engine(message)) = error else { panic!("{error:?}") };
    assert!(message.starts_with("Cast: attribute 'to' is not given ('n0', 'n3'); TfIdfVectorizer: "), "{message}");
    assert!(message.ends_with(" ('n2')"), "{message}");
}

#[test]
fn refuses_what_is_too_large() {
    let graph = graph_of(&["Relu"; 9]);
    let limits = ModelLimits { nodes: 8, ..ModelLimits::default() };
    assert!(matches!(Model::load(&graph, &limits), Err(ModelError::TooLarge { found: 9, limit: 8, .. })));
    let limits = ModelLimits { file_bytes: 8, ..ModelLimits::default() };
    assert!(matches!(Model::load(&graph, &limits), Err(ModelError::TooLarge { .. })));
    assert!(Model::load(&graph, &ModelLimits::default()).is_ok());
    assert!(Model::load(b"", &ModelLimits::default()).is_err());
}

/// A graph of a chain of these operators from a matrix `x` of three columns, in the wire format of protobuf.
fn graph_of(ops: &[&str]) -> Vec<u8> {
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        let mut len = bytes.len();
        while len >= 128 {
            out.push(len as u8 | 128);
            len >>= 7;
        }
        out.push(len as u8);
        out.extend(bytes);
        out
    }
    let value = |name: &str| {
        let dims = [field(1, &field(2, b"batch")), field(1, &[1 << 3, 3])].concat();
        let tensor = [vec![1 << 3, 1], field(2, &dims)].concat();
        [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
    };
    let mut graph = Vec::new();
    let mut last = "x".to_owned();
    for (index, op) in ops.iter().enumerate() {
        let (name, output) = (format!("n{index}"), format!("y{index}"));
        let node = [(1, &last), (2, &output), (3, &name)].map(|(number, text)| field(number, text.as_bytes()));
        graph.extend(field(1, &[node.concat(), field(4, op.as_bytes())].concat()));
        last = output;
    }
    graph.extend(field(11, &value("x")));
    graph.extend(field(12, &value(&last)));
    [vec![1 << 3, 9], field(8, &[2 << 3, 17]), field(7, &graph)].concat()
}

#[test]
fn plans_are_those_of_an_earlier_load_whatever_they_take() {
    let file = folder().join("../bundles/iris_like/model.onnx");
    let onnx = fs::read(file).unwrap();
    for plan in ["many", "many+one"] {
        let limits = ModelLimits::default();
        let model = Model::load_again(Some(plan), Mode::Auto, onnx.clone(), BTreeMap::new(), &limits).unwrap();
        assert_eq!(model.plan(), plan);
    }
}
