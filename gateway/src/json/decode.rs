//! JSON rows straight into packed columns: one pass, no tree in between.
//!
//! A body is one object (a row) or a list of objects (a batch), or what MLflow's and TensorFlow's clients put around them.
//! Every bad field is told, with the place, the kind and the words that FastAPI's users parse.

pub(crate) mod builder;
mod cell;
mod row;
mod scoring;
mod state;
mod table;

use modelgate_columns::Column;
use serde::de::DeserializeSeed;

use self::{
    row::Body,
    state::{Keys, State},
};
pub use self::{
    scoring::{Dialect, Form, scoring},
    state::{DecodeError, Decoded, FieldError},
};

/// Decodes `body` for a bundle that takes `columns`. A key `model` beside the features must be `model`, else
/// [`DecodeError::OtherModel`] says which one is meant.
pub fn rows(body: &[u8], columns: &[Column], model: &str, max_rows: u32) -> Result<Decoded, DecodeError> {
    let mut state = State::new(columns, Keys::Named(model), max_rows);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let parsed = Body(&mut state).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    state.finish(parsed)
}

#[cfg(test)]
mod tests {
    use modelgate_columns::{Datatype, Values};

    use super::*;

    fn columns() -> Vec<Column> {
        let mut age = Column::scalar("age", Datatype::F64);
        age.nullable = true;
        let mut kind = Column::scalar("kind", Datatype::Bytes);
        kind.nullable = true;
        vec![
            Column::scalar("n", Datatype::I32),
            age,
            kind,
            Column::scalar("ok", Datatype::Bool),
            Column::new("x", Datatype::F32, [-1, 2]),
        ]
    }

    fn decode(body: &str) -> Result<Decoded, DecodeError> {
        rows(body.as_bytes(), &columns(), "m", 3)
    }

    fn kinds(body: &str) -> Vec<(&'static str, Option<u32>, String)> {
        match decode(body) {
            Err(DecodeError::Fields(errors)) => errors.into_iter().map(|e| (e.kind, e.row, e.field)).collect(),
            other => panic!("expected field errors, got {other:?}"),
        }
    }

    #[test]
    fn a_row_becomes_columns() {
        let decoded = decode(r#"{"model":"m","x":[1,2.5],"n":3.0,"kind":"a\u00e9","ok":true}"#).expect("a row");
        assert!(!decoded.list);
        let columns = columns();
        let views = decoded.batch.views(&columns).expect("well packed");
        assert!(matches!(views[0].values, Values::I32([3])));
        assert!(!views[1].is_valid(0), "age is missing");
        let Values::Bytes(kind) = views[2].values else { panic!("not bytes") };
        assert_eq!(kind.get(0), Some("aé".as_bytes()));
        assert!(matches!(views[4].values, Values::F32([1.0, 2.5])));
    }

    #[test]
    fn a_list_becomes_a_batch() {
        let decoded = decode(
            r#"[{"n":1,"age":2,"kind":null,"ok":false,"x":[0,0]},{"ok":true,"n":-1,"x":[3,4],"kind":"z","age":null}]"#,
        )
        .expect("a batch");
        assert!(decoded.list);
        assert_eq!(decoded.batch.rows, 2);
        let columns = columns();
        let views = decoded.batch.views(&columns).expect("well packed");
        assert!(matches!(views[4].values, Values::F32([0.0, 0.0, 3.0, 4.0])));
        assert!(!views[2].is_valid(0) && views[2].is_valid(1));
    }

    #[test]
    fn every_bad_field_is_told() {
        let body = r#"[{"n":1.5,"ok":"yes","x":[1,2]},{"n":1,"ok":true,"x":[1],"y":{"a":[1]},"age":[1]}]"#;
        let expected = [
            ("int_from_float", Some(0), "n".to_owned()),
            ("bool_type", Some(0), "ok".to_owned()),
            ("list_length", Some(1), "x".to_owned()),
            ("extra_forbidden", Some(1), "y".to_owned()),
            ("float_type", Some(1), "age".to_owned()),
        ];
        assert_eq!(kinds(body), expected);
        assert_eq!(kinds("{}").len(), 3, "n, ok and x are required");
        assert_eq!(kinds(r#"{"n":99999999999,"ok":true,"x":[1e39,1]}"#).len(), 2);
        assert_eq!(kinds(r#"{"n":1,"n":2,"ok":true,"x":[1,1]}"#)[0].0, "duplicate_key");
    }

    #[test]
    fn what_is_not_rows_is_refused() {
        assert_eq!(decode("[]"), Err(DecodeError::Empty));
        assert_eq!(decode("3"), Err(DecodeError::NotRows("a number")));
        assert_eq!(decode("[3]"), Err(DecodeError::NotRows("a list of numbers")));
        let row = r#"{"n":1,"ok":true,"x":[1,1]}"#;
        assert_eq!(decode(&format!("[{}]", [row; 4].join(","))), Err(DecodeError::TooManyRows { limit: 3 }));
        assert_eq!(decode(r#"{"model":"other"}"#), Err(DecodeError::OtherModel("other".into())));
        for (body, column) in [("{\"n\":NaN}", 6), ("{\"n\":1", 6), ("", 0), (r#"{"n":1} x"#, 9)] {
            assert!(
                matches!(decode(body), Err(DecodeError::Malformed { line: 1, column: c, .. }) if c == column),
                "{body} {:?}",
                decode(body)
            );
        }
        assert!(matches!(decode(r#"{"n":1e999}"#), Err(DecodeError::Malformed { .. })));
        assert!(decode(&"[".repeat(10_000)).is_err(), "deep nesting");
        assert!(decode(&format!(r#"{{"y":{}}}"#, "[".repeat(100_000))).is_err(), "deep nesting in a field");
    }
}
