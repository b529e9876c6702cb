//! A check of any bytes in place of a `ModelInferRequest`: for the fuzz target `grpc`, and a test of its seeds.

use std::collections::HashMap;

use bytes::Bytes;
use modelgate_columns::{Batch, Column, Datatype};
use prost::Message;

use super::{
    convert,
    proto::{
        InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse,
        model_infer_request::InferInputTensor,
    },
};
use crate::{
    bounds::Bounds,
    error::Error,
    json::decode::{Inputs, NameIndex},
    oip::{Interface, output::Chosen, wire},
};

/// Rows, and bytes of columns, that a request may have.
const ROWS: u32 = 64;
const MEMORY: usize = 1 << 20;

/// Bytes of a decoded message beside those that its own bytes account for.
const FLOOR: usize = 1 << 10;

/// Decodes a message for models of a few kinds: what it takes is what was counted before, its batch is packed, and what a
/// model would answer is the same once it is sent back as a request, typed and raw.
///
/// # Panics
/// Where one of these does not hold.
pub fn check(message: &[u8]) {
    let Ok(counted) = wire::infer_request(message) else { return };
    let Ok(request) = ModelInferRequest::decode(Bytes::copy_from_slice(message)) else { return };
    // The permit covers the message twice. Lists that grow have room for as much again.
    let (taken, most) = (size_of_request(&request), 2 * (2 * message.len() + counted) + FLOOR);
    assert!(taken <= most, "{} bytes take {taken} decoded, {counted} were counted", message.len());
    for columns in models() {
        let names = NameIndex::new(&columns);
        for tensors in [false, true] {
            let inputs = Inputs { columns: &columns, names: &names };
            let model = Interface { name: "m", version: "1", inputs, outputs: &columns, dropped: &[], tensors };
            let Ok(batch) = decoded(&request, &model) else { continue };
            let views = batch.views(&columns).expect("a batch is packed as its columns say");
            assert!((1..=ROWS).contains(&batch.rows) && batch.size() <= 2 * MEMORY);
            let says_all = views.iter().all(|view| !view.validity.is_some_and(|flags| flags.contains(&0)));
            for raw in [false, true] {
                let answer = answered(&request, &model, &batch, raw);
                let again = decoded(&sent_back(answer), &model).expect("an answer can be read");
                assert!(again == batch || !says_all, "{again:?} of {batch:?}");
            }
        }
    }
}

fn models() -> [Vec<Column>; 4] {
    let nullable = |name: &str, datatype| Column { nullable: true, ..Column::scalar(name, datatype) };
    let kind = Column { categories: vec!["a".into()], ..nullable("kind", Datatype::Bytes) };
    let x = Column::new("x", Datatype::F32, [-1, 2]);
    [
        vec![Column::scalar("n", Datatype::I32), nullable("age", Datatype::F64), kind, nullable("ok", Datatype::Bool)],
        vec![x, Column::new("open", Datatype::I64, [-1, -1]), Column::scalar("u", Datatype::U16)],
        vec![Column::new("h", Datatype::F16, [-1, 2]), Column::scalar("t", Datatype::Bytes)],
        vec![Column::new("c", Datatype::I8, [-1, -1, -1])],
    ]
}

fn decoded(request: &ModelInferRequest, model: &Interface<'_>) -> Result<Batch, Error> {
    let read = convert::read(request, model, |sent| Bounds::new(ROWS, MEMORY, sent));
    if let Err(error) = &read {
        let message = error.to_string();
        assert!(message.len() <= 8 << 10, "{} bytes are told back", message.len());
    }
    read.map(|(_, _, packed)| packed.batch)
}

/// The answer of a model that gives what it takes.
fn answered(request: &ModelInferRequest, model: &Interface<'_>, batch: &Batch, raw: bool) -> ModelInferResponse {
    let chosen: Vec<_> = (0..model.outputs.len()).map(|index| Chosen { index, binary: true }).collect();
    let raw_input_contents = if raw { vec![Bytes::new()] } else { Vec::new() };
    let request = ModelInferRequest { id: request.id.clone(), raw_input_contents, ..ModelInferRequest::default() };
    convert::response(model, &request, batch, &chosen).expect("a batch of the model's own columns")
}

fn sent_back(answer: ModelInferResponse) -> ModelInferRequest {
    let input = |output: super::proto::model_infer_response::InferOutputTensor| InferInputTensor {
        name: output.name,
        datatype: output.datatype,
        shape: output.shape,
        parameters: HashMap::new(),
        contents: output.contents,
    };
    ModelInferRequest {
        inputs: answer.outputs.into_iter().map(input).collect(),
        raw_input_contents: answer.raw_output_contents,
        ..ModelInferRequest::default()
    }
}

fn list<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>()
}

fn parameters(map: &HashMap<String, InferParameter>) -> usize {
    // A hash table has an entry, and a byte of its own, for each place.
    map.capacity() * (size_of::<(String, InferParameter)>() + 1) + map.keys().map(String::capacity).sum::<usize>()
}

/// Bytes that a decoded message holds, beside the texts that stay parts of the message.
fn size_of_request(request: &ModelInferRequest) -> usize {
    let ModelInferRequest { model_name, model_version, id, parameters: given, inputs, outputs, raw_input_contents } =
        request;
    let inputs_hold = inputs.iter().map(|input| {
        let contents = input.contents.as_ref().map_or(0, size_of_contents);
        input.name.capacity()
            + input.datatype.capacity()
            + list(&input.shape)
            + parameters(&input.parameters)
            + contents
    });
    let outputs_hold = outputs.iter().map(|output| output.name.capacity() + parameters(&output.parameters));
    model_name.capacity()
        + model_version.capacity()
        + id.capacity()
        + parameters(given)
        + list(inputs)
        + inputs_hold.sum::<usize>()
        + list(outputs)
        + outputs_hold.sum::<usize>()
        + list(raw_input_contents)
}

fn size_of_contents(contents: &InferTensorContents) -> usize {
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
    list(bool_contents)
        + list(int_contents)
        + list(int64_contents)
        + list(uint_contents)
        + list(uint64_contents)
        + list(fp32_contents)
        + list(fp64_contents)
        + list(bytes_contents)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn every_seed_holds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/grpc");
        let seeds: Vec<_> = fs::read_dir(folder).expect("seeds").flatten().collect();
        assert!(seeds.len() > 5, "{} seeds", seeds.len());
        for seed in seeds {
            check(&fs::read(seed.path()).expect("a seed"));
        }
    }
}
