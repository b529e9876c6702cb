//! JSON rows straight into packed columns: one pass, no tree in between.
//!
//! A body is one object (a row) or a list of objects (a batch), or what MLflow's and TensorFlow's clients put around them.
//! Every bad field is told, with the place, the kind and the words that FastAPI's users parse.

pub(crate) mod builder;
mod cell;
mod first_row;
mod form;
pub(crate) mod frame;
mod lax;
mod model_key;
mod names;
mod or_null;
mod record;
mod row;
mod scoring;
mod state;
mod table;
pub mod tokens;
mod with_tokens;

use serde::de::DeserializeSeed;

pub(crate) use self::or_null::OrNull;
use self::{builder::Forms, row::Body, state::State, with_tokens::with_tokens};
pub use self::{
    first_row::first_row_fits,
    form::form_within,
    model_key::{MODEL_KEY, ModelKey, model_key},
    names::{Inputs, NameIndex},
    scoring::{Dialect, Form, scoring, scoring_within},
    state::{DecodeError, Decoded, FieldError, Keys, Policy},
};
use crate::bounds::Bounds;

/// Decodes `body` for a bundle that takes `inputs`. Values are taken as pydantic's default mode takes them.
///
/// # Errors
/// [`DecodeError::SeveralModels`] where the key `model` names another model than `keys` says.
pub fn rows(body: &[u8], inputs: Inputs<'_>, keys: Keys<'_>, policy: Policy<'_>) -> Result<Decoded, DecodeError> {
    rows_within(body, inputs, keys, policy, policy.max_rows.into())
}

/// The same within bounds.
///
/// # Errors
/// Also [`DecodeError::Excess`].
pub fn rows_within(
    body: &[u8],
    inputs: Inputs<'_>,
    keys: Keys<'_>,
    policy: Policy<'_>,
    mut bounds: Bounds<'_>,
) -> Result<Decoded, DecodeError> {
    let forms = Forms { lax: true, base64: true, ..Forms::default() };
    with_tokens(body, forms, |body, forms| {
        let mut state = State::new(inputs, keys, policy, bounds.reborrow(), forms);
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let parsed = Body(&mut state).deserialize(&mut deserializer).and_then(|()| deserializer.end());
        state.finish(parsed)
    })
}

#[cfg(test)]
mod tests {
    use modelgate_columns::{Column, Datatype, Values};

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
        decode_as(body, &columns(), Keys::Named("m"), Policy::default())
    }

    fn decode_as(body: &str, columns: &[Column], keys: Keys<'_>, policy: Policy<'_>) -> Result<Decoded, DecodeError> {
        let inputs = Inputs { columns, names: &NameIndex::new(columns) };
        rows(body.as_bytes(), inputs, keys, Policy { max_rows: 3, ..policy })
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
        let body = r#"[{"n":1.5,"ok":"maybe","x":[1,2]},{"n":1,"ok":true,"x":[1],"y":{"a":[1]},"age":[1]}]"#;
        let expected = [
            ("int_from_float", Some(0), "n".to_owned()),
            ("bool_parsing", Some(0), "ok".to_owned()),
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
        let other = DecodeError::SeveralModels { asked: "m".into(), named: "other".into() };
        assert_eq!(decode(r#"{"model":"other"}"#), Err(other));
        for (body, column) in [("{\"n\":nan}", 7), ("{\"n\":1", 6), ("", 0), (r#"{"n":1} x"#, 9)] {
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

    #[test]
    fn a_column_model_is_a_feature_where_the_model_is_named_elsewhere() {
        let columns = [Column::scalar("model", Datatype::Bytes), Column::scalar("year", Datatype::I32)];
        let body = r#"{"model":"corolla","year":2008}"#;
        let decoded = decode_as(body, &columns, Keys::Given("prices"), Policy::default()).expect("a row");
        let views = decoded.batch.views(&columns).expect("well packed");
        let Values::Bytes(models) = views[0].values else { panic!("not bytes") };
        assert_eq!(models.get(0), Some(&b"corolla"[..]));
        // The key that names the model fills no feature.
        let body = r#"{"model":"prices","year":2008}"#;
        let Err(DecodeError::Fields(errors)) = decode_as(body, &columns, Keys::Named("prices"), Policy::default())
        else {
            panic!("the feature is missing")
        };
        assert_eq!((errors[0].kind, errors[0].field.as_str()), ("missing", "model"));
        assert!(errors[0].message.contains("X-Model"), "{}", errors[0].message);
    }

    #[test]
    fn rows_of_one_body_are_for_one_model() {
        let row = |model: &str| format!(r#"{{"n":1,"ok":true,"x":[0,0]{model}}}"#);
        let list = |models: [&str; 2]| format!("[{},{}]", row(models[0]), row(models[1]));
        let other = Err(DecodeError::SeveralModels { asked: "m".into(), named: "o".into() });
        for body in [list(["", r#","model":"o""#]), list([r#","model":"m""#, r#","model":"o""#])] {
            assert_eq!(decode(&body), other, "{body}");
        }
        let given = |body: &str| decode_as(body, &columns(), Keys::Given("m"), Policy::default());
        assert_eq!(given(&row(r#","model":"o""#)), other);
        for body in [row(r#","model":"m""#), row(r#","model":null"#), list(["", r#","model":"m""#])] {
            assert!(given(&body).is_ok() && decode(&body).is_ok(), "{body}");
        }
    }

    #[test]
    fn tokens_are_numbers() {
        let decoded = decode(r#"{"n":1,"age":NaN,"ok":true,"x":[-Infinity,Infinity],"kind":"NaN"}"#).expect("a row");
        let columns = columns();
        let views = decoded.batch.views(&columns).expect("well packed");
        assert!(!views[1].is_valid(0), "NaN is a missing value, as in a frame");
        assert!(matches!(views[4].values, Values::F32([f32::NEG_INFINITY, f32::INFINITY])));
        let decoded = decode(r#"{"n":1,"ok":true,"x":[NaN,1]}"#).expect("a row");
        let views = decoded.batch.views(&columns).expect("well packed");
        assert!(matches!(views[4].values, Values::F32([nan, 1.0]) if nan.is_nan()));
        let Err(DecodeError::Fields(errors)) = decode(r#"{"n":NaN,"ok":Infinity,"x":[1,1],"kind":NaN}"#) else {
            panic!("neither an integer nor a boolean nor a string")
        };
        let found: Vec<_> = errors.iter().map(|error| (error.kind, error.input.to_string())).collect();
        assert_eq!(
            found,
            [("finite_number", "\"NaN\""), ("bool_type", "\"Infinity\""), ("string_type", "\"NaN\"")]
                .map(|(kind, input)| (kind, input.to_owned()))
        );
        // Positions in errors are those of the body as it came.
        let cut = decode(r#"{"n":1,"age":NaN,"ok":tru}"#);
        assert!(matches!(cut, Err(DecodeError::Malformed { column: 25 | 26, .. })), "{cut:?}");
    }

    #[test]
    fn extra_fields_are_passed_over_where_they_may_be() {
        let body = r#"{"n":1,"ok":true,"x":[0,0],"id":7,"seen":{"at":[1]}}"#;
        let with = |ignores_extra, dropped: &[&str]| {
            let dropped: Vec<_> = dropped.iter().map(|name| (*name).to_owned()).collect();
            decode_as(body, &columns(), Keys::Named("m"), Policy { ignores_extra, dropped: &dropped, max_rows: 3 })
        };
        assert!(with(true, &[]).is_ok() && with(false, &["id", "seen"]).is_ok());
        let Err(DecodeError::Fields(errors)) = with(false, &["id"]) else { panic!("an extra field") };
        assert_eq!((errors.len(), errors[0].field.as_str()), (1, "seen"));
    }
}
