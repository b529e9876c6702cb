//! Requests of the Open Inference Protocol over REST: JSON, and binary tensors behind it.

use modelgate_codec::{
    chunked_bytes::ChunkedBytes,
    json::decode::tokens,
    oip::{
        Error, Interface,
        input::{self, Packed},
        output::{self, Body, Chosen},
        request::{self, InferRequest},
    },
};
use modelgate_columns::Batch;

use crate::{
    memory,
    schema::{self, DECODING, Schema, is_short},
};

/// The byte that is in no JSON: what follows it is binary.
const MARK: u8 = 0xff;

/// A request for models of every kind, of rows and of tensors. What a model would answer is the same once it is sent back as a
/// request, in JSON and in binary.
pub fn oip(input: &[u8]) {
    let mark = input.iter().position(|&byte| byte == MARK);
    let (json, binary) = mark.map_or((input, &[][..]), |at| (&input[..at], &input[at + 1..]));
    // As it comes of a socket: in pieces.
    let mut chunks = ChunkedBytes::default();
    binary.chunks(5_000).for_each(|piece| chunks.push(piece.to_vec().into()));
    for schema in schema::all() {
        for tensors in [false, true] {
            let model = schema.interface(tensors);
            let Ok(rows) = decoded(json, &chunks, &model) else { continue };
            come_back(&rows, schema, &model);
        }
    }
}

/// The batch of a request, read as the gateway reads it: with `NaN` and the infinities where it is JSON but for those.
fn decoded(json: &[u8], binary: &ChunkedBytes, model: &Interface<'_>) -> Result<Batch, Error> {
    let taken = json.len() + binary.len();
    let decoded = memory::within(DECODING, taken, || {
        let mut text = None;
        let read = match request::read(json, binary, false) {
            Err(error @ Error::Malformed { .. }) => match text.insert(tokens::rewritten(json)) {
                Some(text) => request::read(text, binary, true),
                None => Err(error),
            },
            read => read,
        };
        read.and_then(|request| packed(&request, model))
    });
    match &decoded {
        Ok(packed) => drop(schema::views(&packed.batch, model.inputs.columns)),
        Err(error) => {
            assert_ne!(error, &Error::Internal);
            is_short(&error.to_string());
        }
    }
    decoded.map(|packed| packed.batch)
}

fn packed(request: &InferRequest<'_>, model: &Interface<'_>) -> Result<Packed, Error> {
    _ = output::choose(&request.outputs, &request.parameters, model);
    let sent = request.inputs.iter().map(|input| input.data.size()).sum();
    input::pack(&request.inputs, model, schema::bounds(sent))
}

/// Answers with the batch, and reads the answer as a request wherever its form says all of it.
fn come_back(batch: &Batch, schema: &Schema, model: &Interface<'_>) {
    let content = schema::content(&schema::views(batch, &schema.columns));
    for binary in [false, true] {
        let says_all = if binary { !content.has_missing } else { content.is_json };
        if !says_all {
            continue;
        }
        let chosen: Vec<_> = (0..schema.columns.len()).map(|index| Chosen { index, binary }).collect();
        let Body { bytes, json } = output::write(model, batch, &chosen, Some("id")).expect("packed");
        let (json, binary) = bytes.split_at(json.unwrap_or(bytes.len()));
        let json = String::from_utf8(json.to_vec()).expect("JSON is UTF-8");
        let json = json.replacen("\"outputs\":", "\"inputs\":", 1);
        let again = decoded(json.as_bytes(), &ChunkedBytes::whole(binary.to_vec().into()), model);
        assert_eq!(again.as_ref(), Ok(batch), "{json}");
    }
}
