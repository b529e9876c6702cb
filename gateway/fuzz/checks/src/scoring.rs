//! Bodies of MLflow's and TensorFlow Serving's clients.

use modelgate_codec::json::{
    decode::{self, DecodeError, Decoded, Dialect, Form, Policy},
    encode::{self, Outputs, Style},
};

use crate::{
    memory,
    predict::problems,
    schema::{self, DECODING, ROWS, Schema, TABLES},
};

/// A body, decoded by the rules of both: what TensorFlow's clients may send is the same to MLflow's, and rows are the same
/// once they are written in each of the two forms and read again.
pub fn scoring(body: &[u8]) {
    for table in TABLES.iter() {
        let mlflow = decoded(table, body, Dialect::Mlflow);
        let tensorflow = decoded(table, body, Dialect::TensorFlow);
        if let Ok((rows, form)) = &tensorflow {
            assert!(matches!(form, Form::Instances | Form::Inputs), "{form:?}");
            assert_eq!(mlflow.as_ref().map(|(rows, _)| rows), Ok(rows), "both dialects say the same");
        }
        let Ok((rows, _)) = mlflow else { continue };
        for (key, outputs, form) in
            [("instances", Outputs::Rows, Form::Instances), ("inputs", Outputs::Columns, Form::Inputs)]
        {
            let style = Style { tokens: true, base64: true };
            let text = encode::keyed_predictions(&rows.batch, &table.columns, key, outputs, style).expect("packed");
            let (again, found) = decoded(table, &text, Dialect::TensorFlow).expect("what was written can be read");
            assert_eq!((&again.batch, found), (&rows.batch, form), "{}", String::from_utf8_lossy(&text));
        }
    }
}

fn decoded(table: &Schema, body: &[u8], dialect: Dialect) -> Result<(Decoded, Form), DecodeError> {
    let policy = Policy { max_rows: ROWS, ..Policy::default() };
    let decode = || decode::scoring_within(body, table.inputs(), policy, dialect, schema::bounds(body.len()));
    let decoded = memory::within(DECODING, body.len(), decode);
    match &decoded {
        Ok((rows, _)) => drop(schema::views(&rows.batch, &table.columns)),
        Err(error) => problems(error),
    }
    decoded
}
