//! The differential test: graphs of one operator and a few, with inputs that break things, against what ONNX Runtime
//! answered. `differential/generate.py` makes the cases; `make conformance` makes and runs all of them and writes
//! DIFFERENTIAL.md. Without them, the sample in `differential/sample.bin` is run.

mod compare;
mod file;
mod run;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use self::file::Graph;
use self::run::Outcome;
use self::table::Totals;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("differential")
}

/// The outcome of each set of each graph, by graph.
fn run_all(graphs: &[Graph]) -> Vec<Vec<Outcome>> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![Vec::new(); graphs.len()]);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, graph)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    graphs.get(at).map(|graph| (at, graph))
                } {
                    let found = run::run(graph);
                    outcomes.lock().unwrap()[at] = found;
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

/// `MODELGATE_DIFFERENTIAL` names a file of cases to run in the sample's place, `MODELGATE_DIFFERENTIAL_ONLY` the one
/// operator to run; `MODELGATE_UPDATE` writes the table.
#[test]
fn every_operator_answers_as_onnx_runtime_does() {
    let all = std::env::var_os("MODELGATE_DIFFERENTIAL").map(PathBuf::from);
    let path = all.clone().unwrap_or_else(|| folder().join("sample.bin"));
    if all.is_none() && !path.exists() {
        return;
    }
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut graphs = file::read(&bytes);
    if let Some(only) = std::env::var_os("MODELGATE_DIFFERENTIAL_ONLY") {
        let only = only.to_string_lossy();
        graphs.retain(|graph| only.split(',').any(|only| graph.operator == only));
    }
    let outcomes = run_all(&graphs);
    let mut totals: BTreeMap<&str, Totals> = BTreeMap::new();
    let mut failing = Vec::new();
    for (graph, outcomes) in graphs.iter().zip(&outcomes) {
        let totals = totals.entry(&graph.operator).or_default();
        for (index, outcome) in outcomes.iter().enumerate() {
            totals.count(outcome);
            if let Some(fault) = outcome.fault() {
                failing.push(format!("{}: {}, set {index}: {fault}", graph.operator, graph.note));
            }
        }
    }
    if all.is_some() && std::env::var_os("MODELGATE_UPDATE").is_some() {
        fs::write(folder().join("../DIFFERENTIAL.md"), table::write(&totals)).unwrap();
    }
    let cases: usize = outcomes.iter().map(Vec::len).sum();
    assert!(failing.is_empty(), "{} of {cases} cases fail:\n{}", failing.len(), failing.join("\n"));
}
