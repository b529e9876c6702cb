//! The protocol's messages to the gateway's tensors and back.

use std::{borrow::Cow, collections::HashMap};

use bytes::Bytes;
use modelgate_columns::{Column, Datatype, LayoutError, Values, View};

use super::proto::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse,
    infer_parameter::ParameterChoice,
    model_infer_request::{InferInputTensor, InferRequestedOutputTensor},
    model_infer_response::InferOutputTensor,
};
use crate::{
    bounds::Bounds,
    chunked_bytes::ChunkedBytes,
    error::Error,
    oip::{
        Interface, datatype,
        input::{self, Cells, Data, Input, Packed},
        output::{self, Chosen},
        request::{OutputParameters, Parameters, Requested},
        shown,
    },
    tensor::Batch,
};

/// The inputs of a request. They are either all raw, in the inputs' order, or all typed.
fn inputs<'a>(tensors: &'a [InferInputTensor], raw: &[Bytes]) -> Result<Vec<Input<'a>>, Error> {
    if !raw.is_empty() && raw.len() != tensors.len() {
        let (raw, inputs) = (raw.len(), tensors.len());
        return Err(Error::BadRequest(format!("expected raw contents for each of {inputs} inputs, got {raw}")));
    }
    let mut raw = raw.iter();
    tensors
        .iter()
        .map(|tensor| {
            let name = || shown(&tensor.name);
            let datatype = datatype(&tensor.datatype).ok_or_else(|| {
                let got = shown(&tensor.datatype);
                Error::BadRequest(format!("input '{}': expected a datatype such as FP32 or BYTES, got '{got}'", name()))
            })?;
            if tensor.parameters.contains_key("shared_memory_region") {
                return Err(Error::BadRequest(format!("input '{}': shared memory is not supported", name())));
            }
            let data = match (raw.next(), &tensor.contents) {
                (Some(_), Some(contents)) if *contents != InferTensorContents::default() => {
                    return Err(Error::BadRequest(format!("input '{}' has both raw and typed contents", name())));
                }
                (Some(raw), _) => Data::Raw(ChunkedBytes::from(raw.clone())),
                (None, Some(contents)) => Data::Cells(
                    cells(contents, datatype)
                        .map_err(|problem| Error::BadRequest(format!("input '{}': {problem}", name())))?,
                ),
                (None, None) => return Err(Error::BadRequest(format!("input '{}' has no contents", name()))),
            };
            Ok(Input { name: Cow::Borrowed(&tensor.name), datatype, shape: tensor.shape.clone(), data })
        })
        .collect()
}

/// Typed contents, in the list that belongs to the datatype and in no other.
fn cells(contents: &InferTensorContents, datatype: Datatype) -> Result<Cells, String> {
    let InferTensorContents {
        bool_contents,
        int_contents,
        int64_contents,
        uint_contents,
        uint64_contents,
        fp32_contents,
        fp64_contents,
        bytes_contents,
    } = contents;
    // As in raw contents, NaN is a missing value where one may be missing.
    let mut cells = Cells { tokens: true, ..Cells::default() };
    macro_rules! put {
        ($list:ident) => {{
            cells.count = $list.len();
            cells.bytes = $list.iter().flat_map(|value| value.to_le_bytes()).collect();
        }};
        ($list:ident as $type:ty) => {{
            cells.count = $list.len();
            for (index, &value) in $list.iter().enumerate() {
                let value = <$type>::try_from(value).map_err(|_| {
                    format!("value {index}: expected an integer from {} to {}, got {value}", <$type>::MIN, <$type>::MAX)
                })?;
                cells.bytes.extend_from_slice(&value.to_le_bytes());
            }
        }};
    }
    match datatype {
        Datatype::Bool => {
            cells.count = bool_contents.len();
            cells.bytes = bool_contents.iter().copied().map(u8::from).collect();
        }
        Datatype::I8 => put!(int_contents as i8),
        Datatype::I16 => put!(int_contents as i16),
        Datatype::I32 => put!(int_contents),
        Datatype::I64 => put!(int64_contents),
        Datatype::U8 => put!(uint_contents as u8),
        Datatype::U16 => put!(uint_contents as u16),
        Datatype::U32 => put!(uint_contents),
        Datatype::U64 => put!(uint64_contents),
        Datatype::F16 => return Err("FP16 has no typed contents; send it raw".into()),
        Datatype::F32 => put!(fp32_contents),
        Datatype::F64 => put!(fp64_contents),
        Datatype::Bytes => {
            cells.count = bytes_contents.len();
            cells.ends.push(0);
            for value in bytes_contents {
                cells.bytes.extend_from_slice(value);
                let end = u32::try_from(cells.bytes.len()).map_err(|_| "the strings exceed 4 GiB".to_owned())?;
                cells.ends.push(end);
            }
        }
    }
    let filled = [
        bool_contents.len(),
        int_contents.len(),
        int64_contents.len(),
        uint_contents.len(),
        uint64_contents.len(),
        fp32_contents.len(),
        fp64_contents.len(),
        bytes_contents.len(),
    ];
    if filled.iter().sum::<usize>() == cells.count {
        Ok(cells)
    } else {
        Err(format!("its contents are not in the list for {}", datatype.protocol_name()))
    }
}

/// The parameters of a request that mean something here.
fn parameters(given: &HashMap<String, InferParameter>) -> Result<Parameters, Error> {
    let number = |name: &str| match given.get(name).and_then(|value| value.parameter_choice.as_ref()) {
        None => Ok(None),
        Some(&ParameterChoice::Uint64Param(value)) => Ok(Some(value)),
        Some(&ParameterChoice::Int64Param(value)) if value >= 0 => Ok(Some(value.unsigned_abs())),
        Some(_) => Err(Error::BadRequest(format!("parameter '{name}': expected a number of 0 or more"))),
    };
    Ok(Parameters { binary_data_output: None, timeout: number("timeout")?, priority: number("priority")? })
}

/// The outputs that a request names.
fn requested(outputs: &[InferRequestedOutputTensor]) -> Result<Vec<Requested<'_>>, Error> {
    let mut requested = Vec::with_capacity(outputs.len());
    for output in outputs {
        if output.parameters.contains_key("classification") || output.parameters.contains_key("shared_memory_region") {
            let name = shown(&output.name);
            let problem = format!("output '{name}': classification and shared memory are not supported");
            return Err(Error::BadRequest(problem));
        }
        requested.push(Requested { name: Cow::Borrowed(&output.name), parameters: OutputParameters::default() });
    }
    Ok(requested)
}

/// The content of a request: its parameters, the outputs that it names, and its columns. `bounds` are those of a body of so many
/// bytes.
pub(super) fn read<'p>(
    request: &ModelInferRequest,
    model: &Interface<'_>,
    bounds: impl FnOnce(usize) -> Bounds<'p>,
) -> Result<(Parameters, Vec<Chosen>, Packed), Error> {
    let parameters = parameters(&request.parameters)?;
    let requested = requested(&request.outputs)?;
    // Everything is sent the same way, so the form that JSON lacks is of no concern.
    let binary = Parameters { binary_data_output: Some(true), ..parameters };
    let chosen = output::choose(&requested, &binary, model)?;
    let inputs = inputs(&request.inputs, &request.raw_input_contents)?;
    let sent = inputs.iter().map(|input| input.data.size()).sum();
    let packed = input::pack(&inputs, model, bounds(sent))?;
    Ok((parameters, chosen, packed))
}

/// The answer: raw, or typed as the request was. What has no typed form is sent raw, and so are all outputs then.
pub(super) fn response(
    model: &Interface<'_>,
    request: &ModelInferRequest,
    batch: &Batch,
    chosen: &[Chosen],
) -> Result<ModelInferResponse, LayoutError> {
    let columns = model.outputs;
    let views = batch.views(columns)?;
    let sent = || chosen.iter().filter_map(|chosen| Some((columns.get(chosen.index)?, views.get(chosen.index)?)));
    let typed = request.raw_input_contents.is_empty() && sent().all(|(column, _)| column.datatype != Datatype::F16);
    let mut response = ModelInferResponse {
        model_name: model.name.to_owned(),
        model_version: model.version.to_owned(),
        id: request.id.clone(),
        ..ModelInferResponse::default()
    };
    for (column, view) in sent() {
        response.outputs.push(tensor(column, view, typed, model.tensors));
        if !typed {
            let mut bytes = Vec::new();
            output::binary_values(&mut bytes, view);
            response.raw_output_contents.push(bytes.into());
        }
    }
    Ok(response)
}

fn tensor(column: &Column, view: &View<'_>, typed: bool, tensors: bool) -> InferOutputTensor {
    let dims = view.shape(column).into_iter().skip(usize::from(tensors));
    InferOutputTensor {
        name: column.name.clone(),
        datatype: column.datatype.protocol_name().into(),
        shape: dims.map(|dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect(),
        parameters: HashMap::new(),
        contents: typed.then(|| contents(view)),
    }
}

fn contents(view: &View<'_>) -> InferTensorContents {
    let mut contents = InferTensorContents::default();
    match view.values {
        Values::Bool(values) => contents.bool_contents = values.iter().map(|&value| value != 0).collect(),
        Values::I8(values) => contents.int_contents = values.iter().copied().map(i32::from).collect(),
        Values::I16(values) => contents.int_contents = values.iter().copied().map(i32::from).collect(),
        Values::I32(values) => contents.int_contents = values.to_vec(),
        Values::I64(values) => contents.int64_contents = values.to_vec(),
        Values::U8(values) => contents.uint_contents = values.iter().copied().map(u32::from).collect(),
        Values::U16(values) | Values::F16(values) => {
            contents.uint_contents = values.iter().copied().map(u32::from).collect();
        }
        Values::U32(values) => contents.uint_contents = values.to_vec(),
        Values::U64(values) => contents.uint64_contents = values.to_vec(),
        Values::F32(values) => contents.fp32_contents = values.to_vec(),
        Values::F64(values) => contents.fp64_contents = values.to_vec(),
        Values::Bytes(values) => contents.bytes_contents = values.iter().map(Bytes::copy_from_slice).collect(),
    }
    contents
}
