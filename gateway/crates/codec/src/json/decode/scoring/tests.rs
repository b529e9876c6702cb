use modelgate_columns::{Column, Datatype, Values};

use super::*;
use crate::json::decode::NameIndex;

fn columns() -> Vec<Column> {
    vec![
        Column::scalar("n", Datatype::I32),
        Column { nullable: true, ..Column::scalar("age", Datatype::F64) },
        Column::scalar("kind", Datatype::Bytes),
    ]
}

fn decode(body: &str, dialect: Dialect) -> Result<(Decoded, Form), DecodeError> {
    decode_for(&columns(), body, dialect)
}

fn decode_for(columns: &[Column], body: &str, dialect: Dialect) -> Result<(Decoded, Form), DecodeError> {
    let inputs = Inputs { columns, names: &NameIndex::new(columns) };
    scoring(body.as_bytes(), inputs, Policy { max_rows: 3, ..Policy::default() }, dialect)
}

#[test]
fn every_form_is_the_same_rows() {
    for (body, form) in [
        (
            r#"{"dataframe_split":{"columns":["kind","x","n","age"],"data":[["a",0,1,2.5],["b",0,2,null]]}}"#,
            Form::Split,
        ),
        (r#"{"dataframe_split":{"index":[0,1],"data":[[1,2.5,"a"],[2,null,"b"]]}}"#, Form::Split),
        (r#"{"dataframe_split":{"data":[["a",1,2.5],["b",2,null]],"columns":["kind","n","age"]}}"#, Form::Split),
        (r#"{"dataframe_records":[{"n":1,"age":2.5,"kind":"a","x":[]},{"kind":"b","n":2}]}"#, Form::Records),
        (r#"{"params":{},"instances":[[1,2.5,"a"],{"n":2,"kind":"b"}]}"#, Form::Instances),
        (r#"{"inputs":{"kind":["a","b"],"n":[1,2],"age":[2.5,null],"x":3}}"#, Form::Inputs),
        (r#"{"inputs":[[1,2.5,"a"],[2,null,"b"]],"params":null}"#, Form::Inputs),
    ] {
        let (decoded, found) = decode(body, Dialect::Mlflow).unwrap_or_else(|error| panic!("{body}: {error:?}"));
        assert_eq!((found, decoded.batch.rows), (form, 2), "{body}");
        let columns = columns();
        let views = decoded.batch.views(&columns).expect("well packed");
        assert!(matches!(views[0].values, Values::I32([1, 2])), "{body}");
        assert!(views[1].is_valid(0) && !views[1].is_valid(1), "{body}");
        let Values::Bytes(kinds) = views[2].values else { panic!("not bytes") };
        assert_eq!(kinds.data(), b"ab", "{body}");
    }
    let (decoded, _) = decode(r#"{"inputs":{"kind":"a","n":1}}"#, Dialect::TensorFlow).expect("an only row");
    assert_eq!(decoded.batch.rows, 1);
}

#[test]
fn one_column_may_come_as_it_is() {
    let matrix = [Column::new("x", Datatype::F32, [-1, 2])];
    let plain = [Column::scalar("x", Datatype::F32)];
    for (columns, body) in [
        (&matrix, r#"{"instances":[[1,2],[3,4]]}"#),
        (&matrix, r#"{"instances":[{"x":[1,2]},[3,4]]}"#),
        (&matrix, r#"{"inputs":[[1,2],[3,4]]}"#),
        (&matrix, r#"{"inputs":{"x":[[1,2],[3,4]]}}"#),
        (&plain, r#"{"instances":[1,[3]]}"#),
    ] {
        let decoded = decode_for(columns, body, Dialect::TensorFlow);
        assert_eq!(decoded.unwrap_or_else(|error| panic!("{body}: {error:?}")).0.batch.rows, 2);
    }
}

#[test]
fn what_is_wrong_is_told() {
    let good = r#"[{"n":1,"kind":"a"}]"#;
    let four = r#"[[1,1,"a"],[1,1,"a"],[1,1,"a"],[1,1,"a"]]"#;
    for (body, words) in [
        (format!(r#"{{"instances":{good},"inputs":{good}}}"#), "exactly one"),
        (r#"{"prompt":1}"#.to_owned(), "'prompt'"),
        ("{}".to_owned(), "exactly one"),
        (r#"{"instances":[]}"#.to_owned(), "Empty"),
        (r#"{"instances":[3]}"#.to_owned(), "a list of 3 values"),
        (r#"{"instances":[[1,2]]}"#.to_owned(), "expected 3 values"),
        (r#"{"instances":[[1,2,"a",4]]}"#.to_owned(), "got 4"),
        (r#"{"instances":[["x",2,"a"]]}"#.to_owned(), "int_type"),
        (format!(r#"{{"instances":{four}}}"#), "TooManyRows"),
        (r#"{"inputs":{"n":[1,2,3,4],"kind":["a"]}}"#.to_owned(), "TooManyRows"),
        (r#"{"inputs":{"n":[1,2],"kind":["a"]}}"#.to_owned(), "has 2 rows"),
        (r#"{"inputs":{"n":[1,2],"n":[1,2]}}"#.to_owned(), "twice"),
        (r#"{"inputs":{"n":[1]}}"#.to_owned(), "missing"),
        (r#"{"dataframe_split":{"columns":["n","n"],"data":[]}}"#.to_owned(), "twice"),
        (r#"{"dataframe_split":{"columns":["n"]}}"#.to_owned(), "data"),
        (r#"{"dataframe_split":{"columns":["n"],"data":[[1]],"more":1}}"#.to_owned(), "'more'"),
        (r#"{"dataframe_split":[]}"#.to_owned(), "columns and data"),
        (r#"{"dataframe_records":{"n":1}}"#.to_owned(), "list of records"),
        ("[1]".to_owned(), "an object"),
        ("[".repeat(10_000), "an object"),
        (format!("{{\"instances\":{}", "[".repeat(10_000)), "Malformed"),
    ] {
        let error = format!("{:?}", decode(&body, Dialect::Mlflow).expect_err(&body));
        assert!(error.contains(words), "{body:.80}: {error}");
    }
    let extra = decode(r#"{"instances":[{"n":1,"kind":"a","x":1}]}"#, Dialect::TensorFlow);
    assert!(matches!(extra, Err(DecodeError::Fields(_))), "{extra:?}");
}

#[test]
fn a_frame_of_a_matrix_is_its_values() {
    let fixed = [Column::new("x", Datatype::F32, [-1, 3])];
    let open = [Column::new("x", Datatype::F32, [-1, -1])];
    for body in [
        r#"{"dataframe_split":{"columns":["a","b","c"],"data":[[1,2.5,NaN],[4,5,-Infinity]]}}"#,
        r#"{"dataframe_split":{"columns":[0,1,2],"data":[[1,2.5,NaN],[4,5,-Infinity]]}}"#,
        r#"{"dataframe_split":{"columns":null,"index":null,"data":[[1,2.5,NaN],[4,5,-Infinity]]}}"#,
        r#"{"dataframe_split":{"data":[[1,2.5,NaN],[4,5,-Infinity]]},"instances":null,"params":null}"#,
        r#"{"inputs":null,"dataframe_split":{"data":[[1,2.5,NaN],[4,5,-Infinity]],"columns":[1.5,true,null]}}"#,
        r#"{"dataframe_records":[{"a":1,"b":2.5,"c":NaN},{"c":-Infinity,"a":4,"b":5}]}"#,
        r#"{"dataframe_records":[{"a":1,"b":2.5,"c":null},{"c":-Infinity,"a":4,"b":5}]}"#,
        r#"{"dataframe_split":{"data":[[1,2.5,null],[4,5,-Infinity]]}}"#,
        r#"{"dataframe_records":[{"a":1,"b":2.5,"c":NaN},{"c":-Infinity,"a":4,"b":5}]}"#,
        r#"{"dataframe_records":[{"x":[1,2.5,NaN]},{"x":[4,5,-Infinity]}]}"#,
        r#"{"dataframe_split":{"columns":["x"],"data":[[[1,2.5,NaN]],[[4,5,-Infinity]]]}}"#,
    ] {
        for columns in [&fixed, &open] {
            let (decoded, _) =
                decode_for(columns, body, Dialect::Mlflow).unwrap_or_else(|error| panic!("{body}: {error:?}"));
            let views = decoded.batch.views(columns).expect("well packed");
            let Values::F32([1.0, 2.5, nan, 4.0, 5.0, f32::NEG_INFINITY]) = views[0].values else {
                panic!("{body}: {:?}", views[0].values)
            };
            assert!(nan.is_nan(), "{body}");
        }
    }
    let body = r#"{"dataframe_records":[{"a":1,"b":2,"c":3},{"c":1,"a":2}]}"#;
    let (decoded, _) = decode_for(&fixed, body, Dialect::Mlflow).expect("as pandas fills it in");
    let views = decoded.batch.views(&fixed).expect("well packed");
    assert!(matches!(views[0].values, Values::F32([1.0, 2.0, 3.0, 2.0, nan, 1.0]) if nan.is_nan()));
    for (body, words) in [
        (r#"{"dataframe_split":{"columns":["a","b"],"data":[[1,2]]}}"#, "which is 3"),
        (r#"{"dataframe_split":{"columns":["a","b","c"],"data":[[1,2]]}}"#, "list_length"),
        (r#"{"dataframe_records":[{"a":1,"b":2}]}"#, "which is 3"),
        (r#"{"dataframe_records":[{"a":1,"b":2,"c":3,"d":4}]}"#, "which is 3"),
        (r#"{"dataframe_records":[{"a":1,"b":2,"c":3},{"a":1,"b":2,"d":3}]}"#, "'d' is not in the first"),
        (r#"{"dataframe_records":[{"a":1,"b":2,"b":3,"c":3}]}"#, "duplicate_key"),
        (r#"{"dataframe_records":[{"a":1,"b":"x","c":3}]}"#, "float_type"),
        (r#"{"dataframe_split":null}"#, "exactly one"),
        (r#"{"dataframe_split":null,"inputs":[[1,2,3]],"instances":[[1,2,3]]}"#, "more than one"),
    ] {
        let error = format!("{:?}", decode_for(&fixed, body, Dialect::Mlflow).expect_err(body));
        assert!(error.contains(words), "{body}: {error}");
    }
}

#[test]
fn tensorflow_writes_bytes_and_single_values() {
    let text = [Column::scalar("x", Datatype::Bytes)];
    let named = [Column::scalar("b64", Datatype::Bytes)];
    let pair = [Column::scalar("x", Datatype::Bytes), Column::scalar("n", Datatype::I64)];
    let bytes = |columns: &[Column], body: &str| {
        let (decoded, _) =
            decode_for(columns, body, Dialect::TensorFlow).unwrap_or_else(|error| panic!("{body}: {error:?}"));
        let views = decoded.batch.views(columns).expect("well packed");
        let Values::Bytes(values) = views[0].values else { panic!("not bytes") };
        values.data().to_vec()
    };
    for body in [
        r#"{"instances":[{"b64":"/wBh"}]}"#,
        r#"{"instances":[{"x":{"b64":"/wBh"}}]}"#,
        r#"{"inputs":{"b64":"/wBh"}}"#,
        r#"{"inputs":{"x":{"b64":"/wBh"}}}"#,
        r#"{"inputs":{"x":[{"b64":"/wBh"}]},"signature_name":null}"#,
        r#"{"inputs":[{"b64":"/wBh"}]}"#,
    ] {
        assert_eq!(bytes(&text, body), b"\xff\0a", "{body}");
    }
    assert_eq!(bytes(&named, r#"{"instances":[{"b64":"/wBh"}]}"#), b"/wBh", "a feature of that name");
    assert_eq!(bytes(&pair, r#"{"instances":[{"n":1,"x":{"b64":"YQ"}}]}"#), b"a");
    assert_eq!(bytes(&text, r#"{"inputs":"abc"}"#), b"abc");
    for body in [
        r#"{"instances":[{"x":{"b64":"!"}}]}"#,
        r#"{"instances":[{"x":{"b64":"YQ","more":1}}]}"#,
        r#"{"instances":[{"x":{"b64":1}}]}"#,
    ] {
        assert!(decode_for(&text, body, Dialect::TensorFlow).is_err(), "{body}");
    }
    let number = [Column::scalar("x", Datatype::F32)];
    assert_eq!(decode_for(&number, r#"{"inputs":3}"#, Dialect::TensorFlow).expect("a value").0.batch.rows, 1);
}
