//! Values as pydantic's default mode takes them, and FastAPI's services with it: numbers as text, words and 0 or 1 for
//! booleans. `tests/data/pydantic.json` holds pydantic's own verdicts.

use std::borrow::Cow;

/// A number from text.
pub(super) fn float(text: &str) -> Option<f64> {
    without_underscores(text.trim())?.parse().ok()
}

/// An integer from text; zeros may follow the point.
pub(super) fn integer(text: &str) -> Option<i128> {
    let text = without_underscores(text.trim())?;
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => return None,
        None => &text,
    };
    whole.parse().ok()
}

/// A boolean from a word, in any case.
pub(super) fn boolean(text: &str) -> Option<bool> {
    let is_one_of = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_one_of(&["1", "on", "t", "true", "y", "yes"]) {
        Some(true)
    } else if is_one_of(&["0", "off", "f", "false", "n", "no"]) {
        Some(false)
    } else {
        None
    }
}

/// Underscores may stand between digits, as in Python.
fn without_underscores(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('_') {
        return Some(text.into());
    }
    let is_within = !text.starts_with('_') && !text.ends_with('_') && !text.contains("__");
    is_within.then(|| text.replace('_', "").into())
}

#[cfg(test)]
mod tests {
    use modelgate_columns::{Column, Datatype, Values};
    use serde_json::Value;

    use crate::json::decode::{DecodeError, Inputs, Keys, NameIndex, Policy, rows};

    /// The decoder's result for one value: its value as pydantic tells it, or the kind of the error.
    fn verdict(datatype: Datatype, json: &str) -> Result<Value, &'static str> {
        let columns = [Column::scalar("x", datatype)];
        let inputs = Inputs { columns: &columns, names: &NameIndex::new(&columns) };
        let body = format!("{{\"x\":{json}}}");
        let decoded = match rows(body.as_bytes(), inputs, Keys::Given("m"), Policy { max_rows: 1, ..Policy::default() })
        {
            Ok(decoded) => decoded,
            Err(DecodeError::Fields(errors)) => return Err(errors[0].kind),
            Err(other) => panic!("{json}: {other:?}"),
        };
        let views = decoded.batch.views(&columns).expect("well packed");
        Ok(match views[0].values {
            Values::F64([value]) if value.is_nan() => "nan".into(),
            Values::F64([value]) if value.is_infinite() => value.to_string().into(),
            Values::F64([value]) => (*value).into(),
            Values::I64([value]) => (*value).into(),
            Values::U64([value]) => (*value).into(),
            Values::Bool([value]) => (*value != 0).into(),
            Values::Bytes(values) => String::from_utf8_lossy(values.get(0).expect("a value")).into(),
            _ => panic!("{json}: {:?}", views[0].values),
        })
    }

    #[test]
    fn values_are_taken_as_pydantic_takes_them() {
        let table: Value = serde_json::from_str(include_str!("../../../../../tests/data/pydantic.json")).expect("JSON");
        let rows = table["rows"].as_array().expect("rows");
        assert!(rows.len() > 90);
        for row in rows {
            let json = row["json"].as_str().expect("text");
            for (name, datatype) in
                [("float", Datatype::F64), ("int", Datatype::I64), ("bool", Datatype::Bool), ("str", Datatype::Bytes)]
            {
                let (expected, got) = (&row[name], verdict(datatype, json));
                match (expected.get("value"), &got) {
                    (Some(expected), Ok(got)) if name == "float" && expected.is_number() => {
                        assert_eq!(expected.as_f64(), got.as_f64(), "{name} {json}");
                    }
                    (Some(expected), Ok(got)) => assert_eq!(expected, got, "{name} {json}"),
                    // Python's integers have no end; columns do.
                    (Some(expected), Err(kind)) => {
                        assert!(*kind == "int_out_of_range" && expected.as_i64().is_none(), "{name} {json}: {kind}");
                    }
                    (None, Err(kind)) => {
                        let expected = expected["error"].as_str().expect("a kind");
                        // Of a float that is no integer for its size, the range is told instead.
                        let is_same = *kind == expected
                            || (expected == "int_parsing_size"
                                && matches!(*kind, "int_out_of_range" | "int_from_float"));
                        assert!(is_same, "{name} {json}: {kind}, not {expected}");
                    }
                    (None, Ok(got)) => panic!("{name} {json}: {got}, not {expected}"),
                }
            }
        }
    }
}
