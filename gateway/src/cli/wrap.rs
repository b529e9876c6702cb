//! `modelgate wrap`: a bundle of a plain ONNX file.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, ensure};
use modelgate_onnx::{Mode, Model, ModelLimits};

use crate::bundle::{MANIFEST, plain::PlainModel};

/// Writes a bundle of the file into a folder: the graph, the files that hold its larger tensors, and a manifest with their
/// digests. A file that cannot be served is not wrapped. Gives lines that say what was made.
pub(super) fn wrap(
    file: &Path,
    folder: &Path,
    name: Option<&str>,
    version: Option<&str>,
    mode: Mode,
) -> anyhow::Result<Vec<String>> {
    ensure!(!folder.join(MANIFEST).exists(), "{}: there is a bundle already", folder.display());
    let plain = PlainModel::read(file).map_err(anyhow::Error::msg)?;
    let data: BTreeMap<_, _> = plain.data.iter().cloned().collect();
    let model = Model::load_as(mode, plain.graph.1.clone(), data, &ModelLimits::default())
        .with_context(|| file.display().to_string())?;
    let manifest = plain.manifest(name, version, mode);
    let problems = crate::bundle::Manifest::parse(manifest.as_bytes()).map_err(anyhow::Error::msg)?.problems();
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    for (name, bytes) in plain.data.iter().chain([&plain.graph]) {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        fs::write(&path, bytes).with_context(|| path.display().to_string())?;
    }
    // Last, so that no reader finds a bundle that is not whole.
    fs::write(folder.join(MANIFEST), manifest).with_context(|| MANIFEST)?;
    let form = if model.is_tensors() { "tensors as the file has them" } else { "rows of a table" };
    let side = |columns: &[modelgate_columns::Column]| {
        let told = columns.iter().map(|column| {
            let shape = crate::oip::shape(column, model.is_tensors());
            format!("{}: {}{shape:?}", column.name, column.datatype)
        });
        told.collect::<Vec<_>>().join(", ")
    };
    Ok(vec![
        format!("{}: a bundle without golden examples; it takes {form}", folder.display()),
        format!("takes {}", side(&model.signature().inputs)),
        format!("gives {}", side(&model.signature().outputs)),
    ])
}
