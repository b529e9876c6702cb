//! Loads ONNX files and compares their outputs with expected ones: `compare FOLDER…`.
//!
//! Each folder has `model.onnx` (and the files that hold its larger tensors) and, like the tests of ONNX's own suite, sets
//! of tensors `set_0/input_0.pb`, `set_0/output_0.pb`, … in the order of the graph. For each folder one line of JSON says
//! how the model was loaded, or why not, and for each set and output the largest difference as a share of the largest value.

#![expect(clippy::print_stdout, reason = "its output is the result")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use modelgate_columns::{Column, Reader, Values, View, Writer};
use modelgate_onnx::{Mode, Model, ModelLimits};
use serde_json::json;
use tract_onnx::data_resolver::FopenDataResolver;
use tract_onnx::prelude::{DatumType, Tensor};
use tract_onnx::tensor::{load_tensor, proto_from_reader};
use tract_onnx::tract_hir::internal::f16;

fn main() {
    for folder in std::env::args().skip(1) {
        let folder = Path::new(&folder);
        println!("{}", compare(folder).unwrap_or_else(|error| json!({ "error": format!("{error:#}") })));
    }
}

fn compare(folder: &Path) -> Result<serde_json::Value> {
    let start = Instant::now();
    let onnx = fs::read(folder.join("model.onnx"))?;
    let mut data = BTreeMap::new();
    for name in modelgate_onnx::data_files(onnx.clone()) {
        data.insert(name.clone(), fs::read(folder.join(&name)).with_context(|| name)?);
    }
    let model = match Model::load_as(Mode::Auto, onnx, data, &ModelLimits::default()) {
        Ok(model) => Arc::new(model),
        Err(error) => return Ok(json!({ "refused": error.to_string() })),
    };
    let loaded = start.elapsed();
    let mut sets = Vec::new();
    for set in (0..).map(|set| folder.join(format!("set_{set}"))).take_while(|set| set.exists()) {
        let start = Instant::now();
        let outcome = run(&model, &set);
        let seconds = start.elapsed().as_secs_f64();
        sets.push(match outcome {
            Ok(differences) => {
                let worst = differences.values().copied().fold(0.0, f64::max);
                json!({ "difference": worst, "outputs": differences, "seconds": seconds })
            }
            Err(error) => json!({ "error": format!("{error:#}") }),
        });
    }
    let signature = model.signature();
    let side = |columns: &[Column]| columns.iter().map(ToString::to_string).collect::<Vec<_>>();
    Ok(json!({
        "tensors": model.is_tensors(),
        "waits": model.may_wait(),
        "inputs": side(&signature.inputs),
        "outputs": side(&signature.outputs),
        "load_seconds": loaded.as_secs_f64(),
        "sets": sets,
    }))
}

/// The largest difference of each output of a set, as a share of its largest value.
fn run(model: &Arc<Model>, set: &Path) -> Result<BTreeMap<String, f64>> {
    let signature = model.signature();
    let (inputs, expected) = (tensors(set, "input")?, tensors(set, "output")?);
    ensure!(inputs.len() == signature.inputs.len(), "{} inputs for {}", signature.inputs.len(), inputs.len());
    let rows = if model.is_tensors() { 1 } else { u32::try_from(inputs[0].shape()[0])? };
    let lead = usize::from(!model.is_tensors());
    let mut writer = Writer::default();
    for (column, tensor) in signature.inputs.iter().zip(&inputs) {
        let inner = tensor.shape().get(lead..).context("no rows")?;
        ensure!(inner.len() == column.inner_shape().len(), "{column} for the shape {:?}", tensor.shape());
        let varying = column.inner_shape().iter().zip(inner).filter(|&(&dim, _)| dim < 0);
        writer.dims(&varying.map(|(_, &size)| size as u64).collect::<Vec<_>>());
        pack(&mut writer, tensor)?;
    }
    let words = model.session().compute(rows, &writer.finish(), None)?;
    let mut reader = Reader::new(rows, &words);
    let mut differences = BTreeMap::new();
    for (column, expected) in signature.outputs.iter().zip(&expected) {
        let view = reader.next(column)?;
        let shape = &view.shape(column)[1 - lead..];
        ensure!(shape == expected.shape(), "{column}: the shape {shape:?} for {:?}", expected.shape());
        let difference = difference(&view, expected).with_context(|| column.to_string())?;
        differences.insert(column.name.clone(), difference);
    }
    reader.finish()?;
    Ok(differences)
}

/// The tensors `input_0.pb`, `input_1.pb`, …
fn tensors(folder: &Path, kind: &str) -> Result<Vec<Tensor>> {
    (0..)
        .map(|index| folder.join(format!("{kind}_{index}.pb")))
        .take_while(|path| path.exists())
        .map(|path| load_tensor(&FopenDataResolver, &proto_from_reader(fs::File::open(path)?)?, None))
        .collect()
}

fn pack(writer: &mut Writer, tensor: &Tensor) -> Result<()> {
    let plain = tensor.try_as_plain_ram()?;
    match tensor.datum_type() {
        DatumType::Bool => writer.fixed(&plain.as_slice::<bool>()?.iter().copied().map(u8::from).collect::<Vec<_>>()),
        DatumType::F16 => {
            writer.fixed(&plain.as_slice::<f16>()?.iter().map(|value| value.to_bits()).collect::<Vec<_>>());
        }
        DatumType::F32 => writer.fixed(plain.as_slice::<f32>()?),
        DatumType::F64 => writer.fixed(plain.as_slice::<f64>()?),
        DatumType::I64 => writer.fixed(plain.as_slice::<i64>()?),
        DatumType::I32 => writer.fixed(plain.as_slice::<i32>()?),
        DatumType::I16 => writer.fixed(plain.as_slice::<i16>()?),
        DatumType::I8 => writer.fixed(plain.as_slice::<i8>()?),
        DatumType::U8 => writer.fixed(plain.as_slice::<u8>()?),
        DatumType::String => writer.strings(plain.as_slice::<String>()?.iter().map(String::as_bytes))?,
        other => bail!("inputs of {other:?} are not compared"),
    }
    Ok(())
}

fn difference(view: &View<'_>, expected: &Tensor) -> Result<f64> {
    let ours: Vec<f64> = match view.values {
        Values::Bool(values) | Values::U8(values) => values.iter().copied().map(f64::from).collect(),
        Values::F16(values) => values.iter().map(|&bits| f16::from_bits(bits).to_f64()).collect(),
        Values::F32(values) => values.iter().copied().map(f64::from).collect(),
        Values::F64(values) => values.to_vec(),
        Values::I64(values) => values.iter().map(|&value| value as f64).collect(),
        Values::I32(values) => values.iter().copied().map(f64::from).collect(),
        Values::Bytes(values) => {
            let plain = expected.try_as_plain_ram()?;
            let theirs = plain.as_slice::<String>()?;
            return Ok(f64::from(u8::from(!values.iter().eq(theirs.iter().map(String::as_bytes)))));
        }
        other => bail!("outputs such as {other:?} are not compared"),
    };
    let theirs = expected.cast_to::<f64>()?;
    let theirs = theirs.try_as_plain_ram()?;
    let theirs = theirs.as_slice::<f64>()?;
    ensure!(ours.len() == theirs.len(), "{} values for {}", ours.len(), theirs.len());
    let scale = theirs.iter().filter(|value| value.is_finite()).fold(1e-6f64, |scale, value| scale.max(value.abs()));
    let each = ours.iter().zip(theirs).map(|(ours, theirs)| match (ours.is_nan(), theirs.is_nan()) {
        (true, true) => 0.0,
        (false, false) if ours.total_cmp(theirs).is_eq() => 0.0,
        (false, false) => (ours - theirs).abs() / scale,
        _ => f64::INFINITY,
    });
    Ok(each.fold(0.0, f64::max).min(1e300))
}
