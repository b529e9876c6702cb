//! Bodies of `/v1/embeddings`.

use modelgate_codec::embeddings::{self, Problem, Request};
use modelgate_columns::{Column, Datatype, Values};

use crate::{
    memory,
    schema::{self, DECODING, is_short},
};

/// A body: its texts are UTF-8 and not empty, and are the same once they are written and read again.
pub fn embeddings(body: &[u8]) {
    let Ok(request) = read(body) else { return };
    let columns = [Column::scalar("text", Datatype::Bytes)];
    let views = schema::views(&request.batch, &columns);
    let Values::Bytes(strings) = views[0].values else { panic!("no texts") };
    let texts: Vec<_> = strings.iter().map(|text| str::from_utf8(text).expect("UTF-8")).collect();
    assert!(texts.iter().all(|text| !text.is_empty()), "an empty text");
    let written = serde_json::json!({ "input": texts, "dimensions": request.dimensions }).to_string();
    let again = read(written.as_bytes()).expect("what was written can be read");
    assert_eq!((again.batch, again.dimensions), (request.batch, request.dimensions));
}

fn read(body: &[u8]) -> Result<Request, Problem> {
    let read = memory::within(DECODING, body.len(), || embeddings::read(body, schema::bounds(body.len())));
    if let Err(problem) = &read {
        is_short(&format!("{problem:?}"));
    }
    read
}
