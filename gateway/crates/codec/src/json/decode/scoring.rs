//! The objects that MLflow's and TensorFlow's clients put around rows: an object with one of a few keys, each a form of
//! its own.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    builder::Forms,
    cell::Key,
    frame::{self, Frame},
    names::Inputs,
    or_null::OrNull,
    record::Records,
    state::{DecodeError, Decoded, Keys, Policy, State, shorten},
    table::{ColumnLists, Instances, ListRows},
    with_tokens::with_tokens,
};
use crate::bounds::Bounds;

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
    fn from_key(key: &str, dialect: Dialect) -> Option<Self> {
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

/// Decodes `body` for a bundle that takes `inputs`.
///
/// # Errors
/// What is wrong with it, in the words of the server whose dialect it is.
pub fn scoring(
    body: &[u8],
    inputs: Inputs<'_>,
    policy: Policy<'_>,
    dialect: Dialect,
) -> Result<(Decoded, Form), DecodeError> {
    scoring_within(body, inputs, policy, dialect, policy.max_rows.into())
}

/// The same within bounds.
///
/// # Errors
/// Also [`DecodeError::Excess`].
pub fn scoring_within(
    body: &[u8],
    inputs: Inputs<'_>,
    policy: Policy<'_>,
    dialect: Dialect,
    mut bounds: Bounds<'_>,
) -> Result<(Decoded, Form), DecodeError> {
    let forms = Forms { base64: true, ..Forms::default() };
    with_tokens(body, forms, |body, forms| {
        let mut read = |known| attempt(body, inputs, policy, bounds.reborrow(), forms, dialect, known);
        let (first, form, frame) = read(None)?;
        match first {
            Some(decoded) => Ok((decoded, form)),
            // The data stood before the columns' names, which are known now.
            None => match read(Some(frame.unwrap_or_else(|| Frame::unnamed(inputs.columns))))? {
                (Some(decoded), form, _) => Ok((decoded, form)),
                (None, ..) => Err(DecodeError::Table("expected \"data\"".into())),
            },
        }
    })
}

/// The rows, unless they stand before the names of their columns; then what these are, if there are any.
fn attempt(
    body: &[u8],
    inputs: Inputs<'_>,
    policy: Policy<'_>,
    bounds: Bounds<'_>,
    forms: Forms,
    dialect: Dialect,
    known: Option<Frame>,
) -> Result<(Option<Decoded>, Form, Option<Frame>), DecodeError> {
    let keys = if dialect == Dialect::Mlflow { Keys::Ignored } else { Keys::Refused };
    let mut state = State::new(inputs, keys, policy, bounds, forms);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let mut seen = Seen { form: None, frame: known, later: false };
    let envelope = Envelope { state: &mut state, dialect, seen: &mut seen };
    let parsed = envelope.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    if seen.later && state.stop.is_none() && parsed.is_ok() {
        return Ok((None, Form::Split, seen.frame));
    }
    let decoded = state.finish(parsed)?;
    match seen.form {
        Some(_) if decoded.batch.rows == 0 => Err(DecodeError::Empty),
        Some(form) => Ok((Some(decoded), form, None)),
        None => Err(DecodeError::Table(dialect.expected().into())),
    }
}

/// The keys that were found on the way.
struct Seen {
    form: Option<Form>,
    /// The columns of `dataframe_split`, once their names were read.
    frame: Option<Frame>,
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
            let Some(form) = Form::from_key(&key, dialect) else {
                map.next_value::<IgnoredAny>()?;
                if others.len() < 20 {
                    others.push(format!("'{}'", shorten(&key)));
                }
                continue;
            };
            let before = seen.form;
            let value = FormValue { state: &mut *state, seen: &mut *seen, form };
            if map.next_value_seed(OrNull(value))?.is_some() && before.is_some() {
                let problem = format!("{} Received more than one of them.", dialect.expected());
                return Err(state.stop(DecodeError::Table(problem)));
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

/// The rows in one of the forms.
struct FormValue<'a, 's> {
    state: &'a mut State<'s>,
    seen: &'a mut Seen,
    form: Form,
}

impl<'de> DeserializeSeed<'de> for FormValue<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { state, seen, form } = self;
        if seen.form.replace(form).is_some() {
            // Not to be read into the same columns: that is an error of its own.
            return IgnoredAny::deserialize(deserializer).map(drop);
        }
        match form {
            Form::Records => Records(state).deserialize(deserializer),
            Form::Split => Split { state, seen }.deserialize(deserializer),
            Form::Instances => Instances(state).deserialize(deserializer),
            Form::Inputs => ColumnLists(state).deserialize(deserializer),
        }
    }
}

/// The name of a frame's column: pandas has names that are numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Name<'a> {
    #[serde(borrow)]
    Text(Cow<'a, str>),
    Whole(i64),
    Number(f64),
    Truth(bool),
    Null(()),
}

impl Name<'_> {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text.into_owned(),
            Self::Whole(number) => number.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Truth(is_true) => is_true.to_string(),
            Self::Null(()) => "null".into(),
        }
    }
}

/// The names of a frame's columns, so many at most.
struct Names {
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Names {
    type Value = Vec<String>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Names {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {} column names at most", self.most)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = seq.next_element::<Name<'de>>()? {
            if names.len() == self.most {
                return Err(de::Error::invalid_length(self.most + 1, &self));
            }
            names.push(name.text());
        }
        Ok(names)
    }
}

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
            match (&*key, &seen.frame) {
                ("columns", _) if !named => {
                    named = true;
                    let most = frame::most_names(state.columns);
                    let Some(names) = map.next_value_seed(OrNull(Names { most }))? else { continue };
                    let frame = Frame::from_names(names.iter().map(String::as_str), state.inputs);
                    seen.frame = Some(frame.map_err(|problem| state.stop(DecodeError::Table(problem)))?);
                }
                ("index", _) => _ = map.next_value::<IgnoredAny>()?,
                ("data", Some(frame)) if !filled => {
                    filled = true;
                    map.next_value_seed(ListRows { state, frame })?;
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
mod tests;
