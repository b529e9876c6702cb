//! Forms that are uploaded.

use modelgate_codec::{
    json::decode::{self, Policy},
    multipart::parts,
};

use crate::{
    memory,
    predict::problems,
    schema::{self, DECODING, ROWS, TABLES},
};

/// The boundary of every input.
const BOUNDARY: &str = "cut";

/// Values are parts of the body, and rows are packed and bounded.
pub fn multipart(body: &[u8]) {
    let values = parts(body, BOUNDARY).flatten().map(|part| part.value.len()).sum::<usize>();
    assert!(values <= body.len(), "{values} bytes of values");
    for table in TABLES.iter() {
        let policy = Policy { max_rows: ROWS, ..Policy::default() };
        let decode = || decode::form_within(body, BOUNDARY, table.inputs(), policy, schema::bounds(body.len()));
        match memory::within(DECODING, body.len(), decode) {
            Ok(rows) => drop(schema::views(&rows.batch, &table.columns)),
            Err(error) => problems(&error),
        }
    }
}
