//! The conformance matrix: the cases made by `tests/conformance/make_cases.py`, against what ONNX Runtime and the
//! libraries said. CONFORMANCE.md is held to what is found here; `MODELGATE_UPDATE=1` writes it anew.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use modelgate_columns::{Column, Datatype, Reader, Values, Writer};
use serde::Deserialize;
use serde_json::Value;

use super::{Model, ModelLimits, Session};

#[derive(Deserialize)]
struct Case {
    family: String,
    note: String,
    /// Texts are padded to the longest of a batch, so that parts of it have other shapes.
    whole: bool,
    tolerance: f64,
    operators: Vec<String>,
    inputs: Vec<Array>,
    outputs: Vec<Array>,
    library: Vec<Option<Array>>,
}

#[derive(Deserialize)]
struct Array {
    name: String,
    shape: Vec<usize>,
    values: Vec<Value>,
}

impl Array {
    /// The values of these rows, of `count`.
    fn rows(&self, rows: std::ops::Range<usize>, count: usize) -> &[Value] {
        let per_row = self.values.len() / count;
        &self.values[rows.start * per_row..rows.end * per_row]
    }

    fn greatest(&self) -> f64 {
        self.values.iter().filter_map(Value::as_f64).map(f64::abs).fold(0.0, f64::max)
    }
}

fn gateway() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn cases() -> Vec<(String, PathBuf, Case)> {
    let mut found: Vec<_> = fs::read_dir(gateway().join("tests/data/conformance"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "onnx"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let case: Case = serde_json::from_slice(&fs::read(path.with_extension("json")).unwrap()).unwrap();
            (name, path, case)
        })
        .collect();
    found.sort_by(|one, other| (&one.2.family, &one.0).cmp(&(&other.2.family, &other.0)));
    found
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Null => f64::NAN,
        Value::String(text) => text.parse().unwrap(),
        Value::Bool(truth) => f64::from(u8::from(*truth)),
        value => value.as_f64().unwrap(),
    }
}

fn pack(writer: &mut Writer, column: &Column, values: &[Value]) {
    let numbers = || values.iter().map(number);
    match column.datatype {
        Datatype::F32 => writer.fixed(&numbers().map(|value| value as f32).collect::<Vec<_>>()),
        Datatype::F64 => writer.fixed(&numbers().collect::<Vec<_>>()),
        Datatype::I64 => writer.fixed(&values.iter().map(|value| value.as_i64().unwrap()).collect::<Vec<_>>()),
        Datatype::Bytes => writer.strings(values.iter().map(|value| value.as_str().unwrap().as_bytes())).unwrap(),
        Datatype::I32 => writer.fixed(&numbers().map(|value| value as i32).collect::<Vec<_>>()),
        other => panic!("no case has {other} inputs"),
    }
}

/// The outputs for these rows, texts as texts and all else as numbers.
fn compute(session: &mut Session, case: &Case, rows: std::ops::Range<usize>) -> Result<Vec<Vec<Value>>, String> {
    let signature = session.signature().clone();
    let mut writer = Writer::default();
    for column in &signature.inputs {
        let input = case.inputs.iter().find(|input| input.name == column.name).unwrap();
        pack(&mut writer, column, input.rows(rows.clone(), case.inputs[0].shape[0]));
    }
    let count = rows.len() as u32;
    let words = session.compute(count, &writer.finish(), None).map_err(|error| error.to_string())?;
    let mut reader = Reader::new(count, &words);
    let columns = signature.outputs.iter().map(|column| {
        let float = |value: f64| serde_json::Number::from_f64(value).map_or_else(|| special(value), Value::Number);
        match reader.next(column).unwrap().values {
            Values::I64(values) => values.iter().map(|&value| value.into()).collect(),
            Values::I32(values) => values.iter().map(|&value| value.into()).collect(),
            Values::I16(values) => values.iter().map(|&value| value.into()).collect(),
            Values::Bool(values) => values.iter().map(|&value| (value != 0).into()).collect(),
            Values::F32(values) => values.iter().map(|&value| float(value.into())).collect(),
            Values::F64(values) => values.iter().map(|&value| float(value)).collect(),
            Values::Bytes(values) => values.iter().map(|value| str::from_utf8(value).unwrap().into()).collect(),
            other => panic!("{column} is {other:?}"),
        }
    });
    Ok(columns.collect())
}

fn special(value: f64) -> Value {
    if value.is_nan() { Value::Null } else { Value::String(format!("{value}")) }
}

/// The first place where the two differ: labels at all, numbers by more than what is allowed.
fn difference(ours: &[Value], theirs: &[Value], allowed: f64) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} values for {}", ours.len(), theirs.len()));
    }
    let whole = |value: &Value| value.is_i64() || value.is_boolean();
    let index = ours.iter().zip(theirs).position(|(ours, theirs)| match (ours, theirs) {
        (Value::String(_), Value::String(_)) => ours != theirs,
        (ours, theirs) if whole(ours) && whole(theirs) => (number(ours) - number(theirs)).abs() > 0.0,
        (Value::String(text), _) | (_, Value::String(text)) if text.parse::<f64>().is_err() => true,
        (ours, theirs) => {
            let (ours, theirs) = (number(ours), number(theirs));
            let same = ours.total_cmp(&theirs).is_eq() || ours.is_nan() && theirs.is_nan();
            !(same || (ours - theirs).abs() <= allowed)
        }
    })?;
    Some(format!("value {index} is {} for {}", ours[index], theirs[index]))
}

/// The cases that do not pass, and why.
const KNOWN: [(&str, &str); 1] = [("knn_imputer", "functions that a model brings along are not supported")];

struct Verdict {
    runtime: String,
    library: String,
    passes: bool,
}

fn judge(path: &Path, case: &Case) -> Verdict {
    let failed = |runtime: String| Verdict { runtime, library: "—".into(), passes: false };
    let model = match Model::load(&fs::read(path).unwrap(), &ModelLimits::default()) {
        Ok(model) => Arc::new(model),
        Err(error) => return failed(format!("refused: {error}")),
    };
    let rows = case.inputs[0].shape[0];
    // One for all, as a worker has it.
    let mut session = model.session();
    let mut against_library = Vec::new();
    // In one batch, one by one, and in parts.
    let sizes = if case.whole { &[rows][..] } else { &[rows, 1, 5] };
    for &size in sizes {
        for start in (0..rows).step_by(size) {
            let part = start..(start + size).min(rows);
            let ours = match compute(&mut session, case, part.clone()) {
                Ok(ours) => ours,
                Err(error) => return failed(format!("fails: {error}")),
            };
            if ours.len() != case.outputs.len() {
                return failed(format!("{} outputs for {}", ours.len(), case.outputs.len()));
            }
            for (ours, theirs) in ours.iter().zip(&case.outputs) {
                let allowed = case.tolerance * theirs.greatest();
                if let Some(what) = difference(ours, theirs.rows(part.clone(), rows), allowed) {
                    let name = &theirs.name;
                    return failed(format!("differs in '{name}', rows {part:?}: {what}"));
                }
            }
            if size == rows {
                for (ours, theirs) in ours.iter().zip(&case.library) {
                    let Some(theirs) = theirs else { continue };
                    let allowed = case.tolerance * theirs.greatest();
                    against_library.extend(difference(ours, theirs.rows(part.clone(), rows), allowed));
                }
            }
        }
    }
    let says = if case.library.iter().all(Option::is_none) {
        "—".to_owned()
    } else {
        against_library.first().map_or_else(|| "equal".to_owned(), |what| format!("the export differs: {what}"))
    };
    Verdict { runtime: "equal".into(), library: says, passes: true }
}

#[test]
fn exports_answer_as_onnx_runtime_and_their_libraries_do() {
    let cases = cases();
    let mut rows = String::new();
    let mut failing = Vec::new();
    for (name, path, case) in &cases {
        let mut verdict = judge(path, case);
        if let Some((_, reason)) = KNOWN.iter().find(|(known, _)| known == name) {
            assert!(!verdict.passes, "{name} passes now");
            verdict.runtime = format!("**no**: {reason}");
        } else if !verdict.passes {
            failing.push(format!("{name} ({}): {}", case.operators.join(", "), verdict.runtime));
        }
        let note = if case.note.is_empty() { String::new() } else { format!(" {}", case.note) };
        let (family, operators) = (&case.family, case.operators.join(", "));
        let Verdict { runtime, library, .. } = verdict;
        writeln!(rows, "| {family} | {name}{note} | {operators} | {} | {runtime} | {library} |", case.tolerance)
            .unwrap();
    }
    assert!(failing.is_empty(), "{} of {} fail:\n{}", failing.len(), cases.len(), failing.join("\n"));
    assert!(cases.len() >= 60);
    let (path, table) = (gateway().join("CONFORMANCE.md"), table(cases.len(), &rows));
    if std::env::var_os("MODELGATE_UPDATE").is_some() {
        fs::write(&path, &table).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == table,
        "CONFORMANCE.md is out of date: set MODELGATE_UPDATE"
    );
}

fn table(count: usize, rows: &str) -> String {
    format!(
        "# Conformance

{count} models as skl2onnx and onnxmltools write them, run through the gateway's loader: in one batch, row by row, and in
parts. *Equal* means labels equal, and scores within the tolerance, relative to the greatest of the batch: 1e-5, or 1e-4
where an algorithm sums many singles or the export computes in singles what the library computes in doubles. Where the
export itself differs from its library, ONNX Runtime differs in the same way.

Made by `make conformance`; `make test` holds this table to what is found. No case are the estimators that the
converters or ONNX Runtime itself refuse, and text vectorizers of ONNX Runtime need the locale en_US.UTF-8 where the
cases are made.

| kind | model | operators | tolerance | ONNX Runtime | library |
|---|---|---|---|---|---|
{rows}"
    )
}
