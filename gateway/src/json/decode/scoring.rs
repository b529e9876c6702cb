//! What MLflow's and TensorFlow's clients put around rows: an object with one of a few keys, each a form of its own.

use std::{borrow::Cow, fmt};

use modelgate_columns::Column;
use serde::{
    Deserialize,
    de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    cell::Key,
    row::Row,
    state::{DecodeError, Decoded, Keys, State, shorten},
    table::{ColumnLists, Instances, ListRows},
};

/// Whose rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Four forms; columns that the model does not take are passed over, as a schema passes over them.
    Mlflow,
    /// `instances` and `inputs` only; unknown columns are errors.
    TensorFlow,
}

/// A form of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `dataframe_records`.
    Records,
    /// `dataframe_split`.
    Split,
    /// `instances`: row by row.
    Instances,
    /// `inputs`: column by column.
    Inputs,
}

impl Form {
    fn of(key: &str, dialect: Dialect) -> Option<Self> {
        match (key, dialect) {
            ("dataframe_records", Dialect::Mlflow) => Some(Self::Records),
            ("dataframe_split", Dialect::Mlflow) => Some(Self::Split),
            ("instances", _) => Some(Self::Instances),
            ("inputs", _) => Some(Self::Inputs),
            _ => None,
        }
    }
}

impl Dialect {
    fn expected(self) -> &'static str {
        match self {
            Self::Mlflow => {
                "The input must be a JSON dictionary with exactly one of the input fields {'dataframe_split', \
                 'dataframe_records', 'instances', 'inputs'}."
            }
            Self::TensorFlow => "expected a JSON object with exactly one of \"instances\" and \"inputs\".",
        }
    }
}

/// Decodes `body` for a bundle that takes `columns`.
pub fn scoring(
    body: &[u8],
    columns: &[Column],
    max_rows: u32,
    dialect: Dialect,
) -> Result<(Decoded, Form), DecodeError> {
    let (first, form, names) = attempt(body, columns, max_rows, dialect, None)?;
    match first {
        Some(decoded) => Ok((decoded, form)),
        // The data stood before the columns' names, which are known now.
        None => match attempt(body, columns, max_rows, dialect, Some(names.unwrap_or_default()))? {
            (Some(decoded), form, _) => Ok((decoded, form)),
            (None, ..) => Err(DecodeError::Table("expected \"data\"".into())),
        },
    }
}

type Places = Vec<Option<usize>>;

/// The rows, unless they stand before the names of their columns; then these names' places, if there are any.
fn attempt(
    body: &[u8],
    columns: &[Column],
    max_rows: u32,
    dialect: Dialect,
    known: Option<Places>,
) -> Result<(Option<Decoded>, Form, Option<Places>), DecodeError> {
    let keys = if dialect == Dialect::Mlflow { Keys::Ignored } else { Keys::Refused };
    let mut state = State::new(columns, keys, max_rows);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let mut seen = Seen { form: None, places: known, later: false };
    let envelope = Envelope { state: &mut state, dialect, seen: &mut seen };
    let parsed = envelope.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    if seen.later && state.stop.is_none() && parsed.is_ok() {
        let places = seen.places.unwrap_or_else(|| (0..columns.len()).map(Some).collect());
        return Ok((None, Form::Split, Some(places)));
    }
    let decoded = state.finish(parsed)?;
    match seen.form {
        Some(_) if decoded.batch.rows == 0 => Err(DecodeError::Empty),
        Some(form) => Ok((Some(decoded), form, None)),
        None => Err(DecodeError::Table(dialect.expected().into())),
    }
}

/// What was found on the way.
struct Seen {
    form: Option<Form>,
    /// Which column each place of a row is.
    places: Option<Places>,
    /// Whether rows were passed over, since their columns' names were not known yet.
    later: bool,
}

struct Envelope<'a, 's> {
    state: &'a mut State<'s>,
    dialect: Dialect,
    seen: &'a mut Seen,
}

impl<'de> DeserializeSeed<'de> for Envelope<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Envelope<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with rows")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { state, dialect, seen } = self;
        let mut others: Vec<String> = Vec::new();
        while let Some(key) = map.next_key_seed(Key)? {
            let Some(form) = Form::of(&key, dialect) else {
                map.next_value::<IgnoredAny>()?;
                if others.len() < 20 {
                    others.push(format!("'{}'", shorten(&key)));
                }
                continue;
            };
            if seen.form.is_some() {
                let problem = format!("{} Received more than one of them.", dialect.expected());
                return Err(state.stop(DecodeError::Table(problem)));
            }
            seen.form = Some(form);
            match form {
                Form::Records => map.next_value_seed(Records(state))?,
                Form::Split => map.next_value_seed(Split { state, seen })?,
                Form::Instances => map.next_value_seed(Instances(state))?,
                Form::Inputs => map.next_value_seed(ColumnLists(state))?,
            }
        }
        if seen.form.is_none() {
            let problem =
                format!("{} Received dictionary with input fields: [{}].", dialect.expected(), others.join(", "));
            return Err(state.stop(DecodeError::Table(problem)));
        }
        Ok(())
    }
}

/// A list of objects.
struct Records<'a, 's>(&'a mut State<'s>);

impl<'de> DeserializeSeed<'de> for Records<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Records<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.list = true;
        while seq.next_element_seed(Row(self.0))?.is_some() {}
        Ok(())
    }
}

/// A name that may need no copy.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// `{"columns": […], "data": [[…], …]}`, and an `index` of no interest.
struct Split<'a, 's> {
    state: &'a mut State<'s>,
    seen: &'a mut Seen,
}

impl<'de> DeserializeSeed<'de> for Split<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Split<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with columns and data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { state, seen } = self;
        let (mut named, mut filled) = (false, false);
        while let Some(key) = map.next_key_seed(Key)? {
            match (&*key, &seen.places) {
                ("columns", _) if !named => {
                    named = true;
                    let names = map.next_value::<Vec<Name<'de>>>()?;
                    let places: Places = names.iter().map(|Name(name)| state.find(name, 0)).collect();
                    for (place, Name(name)) in names.iter().enumerate() {
                        if places[place].is_some() && places[..place].contains(&places[place]) {
                            let problem = format!("column '{}' is named twice", shorten(name));
                            return Err(state.stop(DecodeError::Table(problem)));
                        }
                    }
                    seen.places = Some(places);
                }
                ("index", _) => _ = map.next_value::<IgnoredAny>()?,
                ("data", Some(places)) if !filled => {
                    filled = true;
                    map.next_value_seed(ListRows { state, places })?;
                }
                ("data", None) if !filled => {
                    filled = true;
                    seen.later = true;
                    map.next_value::<IgnoredAny>()?;
                }
                _ => {
                    let problem = format!(
                        "Dataframe split format must have 'data' field and optionally 'columns' and 'index' fields, each \
                         once. Got '{}'",
                        shorten(&key)
                    );
                    return Err(state.stop(DecodeError::Table(problem)));
                }
            }
        }
        if filled { Ok(()) } else { Err(de::Error::missing_field("data")) }
    }
}

#[cfg(test)]
mod tests {
    use modelgate_columns::{Datatype, Values};

    use super::*;

    fn columns() -> Vec<Column> {
        vec![
            Column::scalar("n", Datatype::I32),
            Column { nullable: true, ..Column::scalar("age", Datatype::F64) },
            Column::scalar("kind", Datatype::Bytes),
        ]
    }

    fn decode(body: &str, dialect: Dialect) -> Result<(Decoded, Form), DecodeError> {
        scoring(body.as_bytes(), &columns(), 3, dialect)
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
            let decoded = scoring(body.as_bytes(), columns, 3, Dialect::TensorFlow);
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
            ("[".repeat(10_000), "Malformed"),
        ] {
            let error = format!("{:?}", decode(&body, Dialect::Mlflow).expect_err(&body));
            assert!(error.contains(words), "{body:.80}: {error}");
        }
        let extra = decode(r#"{"instances":[{"n":1,"kind":"a","x":1}]}"#, Dialect::TensorFlow);
        assert!(matches!(extra, Err(DecodeError::Fields(_))), "{extra:?}");
    }
}
