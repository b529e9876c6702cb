//! A model's answer as tensors: JSON, binary, or some of each.

use modelgate_columns::{Batch, Column, Datatype, LayoutError, Values, View};

use crate::{
    json::encode,
    oip::{
        Error, Interface,
        request::{Parameters, Requested},
        shown, strings,
    },
};

/// An output that will be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its place among the model's outputs.
    pub index: usize,
    /// Whether its values are sent as bytes.
    pub binary: bool,
}

/// The outputs that a client names, or all of them. The parameter of an output wins over the request's.
///
/// # Errors
/// Outputs that the model does not have, or that cannot be sent as asked.
pub fn choose(outputs: &[Requested<'_>], parameters: &Parameters, model: &Interface<'_>) -> Result<Vec<Chosen>, Error> {
    let (columns, name) = (model.outputs, model.name);
    let by_default = parameters.binary_data_output.unwrap_or(false);
    let mut chosen: Vec<Chosen> = Vec::with_capacity(columns.len());
    if outputs.is_empty() {
        chosen.extend((0..columns.len()).map(|index| Chosen { index, binary: by_default }));
    }
    for output in outputs {
        let index = columns.iter().position(|column| column.name == output.name).ok_or_else(|| {
            let known: Vec<_> = columns.iter().take(100).map(|column| column.name.as_str()).collect();
            Error::Invalid(format!(
                "unexpected output '{}' for model '{name}', which gives {}",
                shown(&output.name),
                known.join(", ")
            ))
        })?;
        if chosen.iter().any(|other| other.index == index) {
            return Err(Error::Invalid(format!("output '{}' is asked for twice", shown(&output.name))));
        }
        chosen.push(Chosen { index, binary: output.parameters.binary_data.unwrap_or(by_default) });
    }
    let half = chosen.iter().find(|chosen| !chosen.binary && columns[chosen.index].datatype == Datatype::F16);
    match half {
        Some(chosen) => Err(Error::Invalid(format!(
            "output '{}' is FP16, which can be sent in binary only: set its parameter \"binary_data\"",
            columns[chosen.index].name
        ))),
        None => Ok(chosen),
    }
}

/// A response's body.
#[derive(Debug, Default)]
pub struct Body {
    /// JSON, and the binary tensors behind it.
    pub bytes: Vec<u8>,
    /// The length of its JSON part, where tensors follow.
    pub json: Option<usize>,
}

/// Writes a response.
///
/// # Errors
/// An answer that is not what the model's outputs say.
pub fn write(model: &Interface<'_>, batch: &Batch, chosen: &[Chosen], id: Option<&str>) -> Result<Body, LayoutError> {
    let columns = model.outputs;
    let views = batch.views(columns)?;
    let mut out = Vec::with_capacity(160 + batch.size() + 80 * chosen.len());
    out.extend_from_slice(b"{\"model_name\":");
    text(&mut out, model.name);
    out.extend_from_slice(b",\"model_version\":");
    text(&mut out, model.version);
    if let Some(id) = id {
        out.extend_from_slice(b",\"id\":");
        text(&mut out, id);
    }
    out.extend_from_slice(b",\"outputs\":[");
    for (number, &Chosen { index, binary }) in chosen.iter().enumerate() {
        let (Some(column), Some(view)) = (columns.get(index), views.get(index)) else { continue };
        if number > 0 {
            out.push(b',');
        }
        head(&mut out, column, view, model.tensors);
        if binary {
            out.extend_from_slice(b",\"parameters\":{\"binary_data_size\":");
            number_of(&mut out, binary_size(view));
            out.extend_from_slice(b"}}");
        } else {
            out.extend_from_slice(b",\"data\":");
            encode::flat_values(&mut out, view);
            out.push(b'}');
        }
    }
    out.extend_from_slice(b"]}");
    let json = chosen.iter().any(|chosen| chosen.binary).then_some(out.len());
    for chosen in chosen.iter().filter(|chosen| chosen.binary) {
        if let Some(view) = views.get(chosen.index) {
            binary_values(&mut out, view);
        }
    }
    Ok(Body { bytes: out, json })
}

/// `{"name":…,"datatype":…,"shape":[…]`, left open.
fn head(out: &mut Vec<u8>, column: &Column, view: &View<'_>, tensors: bool) {
    out.extend_from_slice(b"{\"name\":");
    text(out, &column.name);
    out.extend_from_slice(b",\"datatype\":\"");
    out.extend_from_slice(column.datatype.protocol_name().as_bytes());
    out.extend_from_slice(b"\",\"shape\":[");
    for (index, dim) in view.shape(column).into_iter().skip(usize::from(tensors)).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        number_of(out, dim);
    }
    out.push(b']');
}

fn text(out: &mut Vec<u8>, text: &str) {
    // Writing into memory cannot fail.
    _ = serde_json::to_writer(out, text);
}

fn number_of(out: &mut Vec<u8>, number: usize) {
    _ = serde_json::to_writer(out, &number);
}

/// Bytes that [`binary_values`] appends.
fn binary_size(view: &View<'_>) -> usize {
    match view.values {
        Values::Bytes(strings) => strings::size(&strings),
        values => values.as_bytes().map_or(0, <[u8]>::len),
    }
}

/// Appends the values as they are in memory. What is missing has no sign of its own there: it is NaN, zero or empty.
pub fn binary_values(out: &mut Vec<u8>, view: &View<'_>) {
    match view.values {
        Values::Bytes(strings) => strings::write(out, &strings),
        values => out.extend_from_slice(values.as_bytes().unwrap_or_default()),
    }
}
