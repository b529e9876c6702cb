//! The node tests of ONNX's public backend suite, whose data is in the Python wheel of `onnx` 1.19.1.
//! `tests/setup.sh test` puts it into `target/onnx-suite`.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tract_onnx::data_resolver::FopenDataResolver;
use tract_onnx::tensor::{load_tensor, proto_from_reader};
use tract_onnx::tract_hir::internal::*;

use crate::plan::into_typed;
use crate::{ModelLimits, read};

/// Tests of the suite that pass; it never falls.
const FLOOR: usize = 966;

/// The beginnings of the names of tests that have to pass.
///
/// The suite's `QLinearMatMul` of signed bytes wraps around where the standard (and ONNX Runtime) says that it saturates.
const OURS: [&str; 8] = [
    "test_ai_onnx_ml_",
    "test_equal_string",
    "test_qlinearmatmul_2D_uint8",
    "test_qlinearmatmul_3D_uint8",
    "test_regex_full_match",
    "test_string_",
    "test_strnorm",
    "test_tfidfvectorizer",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/onnx-suite/onnx/backend/test/data/node")
}

fn tests() -> Vec<PathBuf> {
    let folder = folder();
    let entries = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}; `gateway/tests/setup.sh test` puts it there", folder.display()));
    let mut tests: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    tests.sort();
    tests
}

fn name(test: &Path) -> String {
    test.file_name().unwrap().to_string_lossy().into_owned()
}

/// The tensors `input_0.pb`, `input_1.pb`, …
fn tensors(folder: &Path, kind: &str) -> TractResult<Vec<Tensor>> {
    (0..)
        .map(|index| folder.join(format!("{kind}_{index}.pb")))
        .take_while(|path| path.exists())
        .map(|path| load_tensor(&FopenDataResolver, &proto_from_reader(fs::File::open(path)?)?, None))
        .collect()
}

/// Runs a test with all its data.
fn run(test: &Path) -> TractResult<()> {
    let (model, _) = read(fs::read(test.join("model.onnx"))?, BTreeMap::new(), &ModelLimits::default())?;
    for set in (0..).map(|set| test.join(format!("test_data_set_{set}"))).take_while(|path| path.exists()) {
        let inputs = tensors(&set, "input")?;
        let expected = tensors(&set, "output")?;
        let mut model = model.clone();
        ensure!(model.inputs.len() == inputs.len(), "{} inputs for {}", model.inputs.len(), inputs.len());
        for (index, input) in inputs.iter().enumerate() {
            model.set_input_fact(index, InferenceFact::dt_shape(input.datum_type(), input.shape()))?;
        }
        let plan = into_typed(model)?.into_optimized()?.into_runnable()?;
        let outputs = plan.run(inputs.into_iter().map(Into::into).collect())?;
        ensure!(outputs.len() == expected.len(), "{} outputs for {}", outputs.len(), expected.len());
        for (output, expected) in outputs.iter().zip(&expected) {
            compare(output, expected)?;
        }
    }
    Ok(())
}

/// With the suite's own tolerances.
fn compare(output: &Tensor, expected: &Tensor) -> TractResult<()> {
    ensure!(output.shape() == expected.shape(), "the shape {:?} for {:?}", output.shape(), expected.shape());
    let output =
        if output.datum_type() == TDim::datum_type() { output.cast_to::<i64>()? } else { Cow::Borrowed(output) };
    let (ours, theirs) = (output.datum_type(), expected.datum_type());
    ensure!(ours == theirs, "the type {ours:?} for {theirs:?}");
    if !ours.is_float() {
        ensure!(*output == *expected, "{output:?} for {expected:?}");
        return Ok(());
    }
    let (ours, theirs) = (output.cast_to::<f64>()?, expected.cast_to::<f64>()?);
    let (ours, theirs) = (ours.try_as_plain_ram()?, theirs.try_as_plain_ram()?);
    for (ours, theirs) in ours.as_slice::<f64>()?.iter().zip(theirs.as_slice::<f64>()?) {
        let same = ours.total_cmp(theirs).is_eq() || ours.is_nan() && theirs.is_nan();
        ensure!(same || (ours - theirs).abs() <= 1e-7 + 1e-3 * theirs.abs(), "{ours} for {theirs}");
    }
    Ok(())
}

fn guarded(test: &Path) -> Result<(), String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(test)));
    outcome.unwrap_or_else(|_| bail!("a panic")).map_err(|error| format!("{}: {error:#}", name(test)))
}

#[test]
fn machine_learning_and_text_operators_pass() {
    let chosen: Vec<_> =
        tests().into_iter().filter(|test| OURS.iter().any(|ours| name(test).starts_with(ours))).collect();
    assert!(chosen.len() >= 35, "{chosen:?}");
    let failing: Vec<_> = chosen.iter().filter_map(|test| guarded(test).err()).collect();
    assert!(failing.is_empty(), "{}", failing.join("\n"));
}

#[test]
#[expect(clippy::print_stdout, reason = "the count is the report")]
fn as_many_pass_as_ever() {
    let tests = tests();
    let failing: Vec<_> = tests.iter().filter_map(|test| guarded(test).err()).collect();
    let passing = tests.len() - failing.len();
    println!("{passing} of {} tests of the ONNX backend suite pass", tests.len());
    if let Some(path) = std::env::var_os("MODELGATE_SUITE_REPORT") {
        fs::write(path, failing.join("\n")).unwrap();
    }
    assert!(passing >= FLOOR, "{passing} pass, {FLOOR} did before:\n{}", failing.join("\n"));
}
