//! Rows as lists of values, and columns as lists of rows.

use std::{borrow::Cow, fmt};

use modelgate_columns::Datatype;
use serde::de::{
    self, DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor,
    value::BorrowedStrDeserializer,
};

use super::{
    builder::Builder,
    cell::{BASE64_KEY, Cell, Key},
    frame::Frame,
    row::Row,
    state::{DecodeError, State},
};

/// A list of what each is: objects of features, lists in the columns' order, or, for a bundle of one column, its values.
pub(super) struct Instances<'a, 's>(pub(super) &'a mut State<'s>);

impl<'de> DeserializeSeed<'de> for Instances<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Instances<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let frame = Frame::Columns((0..self.0.columns.len()).map(Some).collect());
        self.0.list = true;
        while seq.next_element_seed(Instance { state: self.0, frame: &frame })?.is_some() {}
        Ok(())
    }
}

/// One row in any of these forms.
struct Instance<'a, 's> {
    state: &'a mut State<'s>,
    frame: &'a Frame,
}

impl Instance<'_, '_> {
    /// The row's only value, if that is all the bundle takes.
    fn only(&mut self) -> Option<Cell<'_>> {
        let [column] = self.state.columns else { return None };
        let builder = self.state.builders.first_mut()?;
        builder.seen = self.state.rows + 1;
        Some(Cell { column, builder, depth: 0 })
    }

    fn value<E: de::Error>(
        mut self,
        what: &str,
        put: impl FnOnce(Cell<'_>) -> Result<Option<super::cell::Fault>, E>,
    ) -> Result<(), E> {
        let Some(cell) = self.only() else {
            let columns = self.state.columns.len();
            let row = self.state.rows;
            return Err(self.state.stop(DecodeError::Table(format!(
                "row {row}: expected an object of features, or a list of {columns} values, got {what}"
            ))));
        };
        if let Some((fault, input)) = put(cell)? {
            let name = self.state.columns.first().map_or("", |column| column.name.as_str());
            self.state.fault(name, fault, input);
        }
        self.state.end_row();
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Instance<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.state.begin_row()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Instance<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        if is_only_bytes(self.state) { OnlyBytes(self.state).visit_map(map) } else { Row(self.state).visit_map(map) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        match self.state.columns {
            [column] if !column.inner_shape().is_empty() => self.value("a list", |cell| cell.visit_seq(seq)),
            _ => ListRow { state: self.state, frame: self.frame }.visit_seq(seq),
        }
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.value("a boolean", |cell| cell.visit_bool(value))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.value("a number", |cell| cell.visit_i64(value))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.value("a number", |cell| cell.visit_u64(value))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.value("a number", |cell| cell.visit_f64(value))
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.value("a string", |cell| cell.visit_str(value))
    }
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.value("null", |cell| cell.visit_unit())
    }
}

/// Whether `{"b64": …}` by itself is a value of the only column, and no object of features.
fn is_only_bytes(state: &State<'_>) -> bool {
    let [column] = state.columns else { return false };
    let is_string = column.datatype == Datatype::Bytes && column.inner_shape().iter().all(|&size| size == 1);
    is_string && column.name != BASE64_KEY && state.takes_base64()
}

/// A row of an only column of strings: `{"b64": …}`, or an object with the column's name.
struct OnlyBytes<'a, 's>(&'a mut State<'s>);

impl<'de> Visitor<'de> for OnlyBytes<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the column's name, or with b64")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some(first) = map.next_key_seed(Key)? else {
            self.0.end_row();
            return Ok(());
        };
        if first != BASE64_KEY {
            return Row(self.0).visit_map(Peeked { first: Some(first), rest: map });
        }
        let (Some(column), Some(builder)) = (self.0.columns.first(), self.0.builders.first_mut()) else {
            return Ok(());
        };
        builder.seen = self.0.rows + 1;
        let cell = Cell { column, builder, depth: 0 };
        if let Some((fault, input)) = cell.visit_map(Peeked { first: Some(first), rest: map })? {
            self.0.fault(&column.name, fault, input);
        }
        self.0.end_row();
        Ok(())
    }
}

/// An object whose first key was read already.
pub(super) struct Peeked<'de, A> {
    pub(super) first: Option<Cow<'de, str>>,
    pub(super) rest: A,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Peeked<'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.first.take() {
            Some(Cow::Borrowed(key)) => seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some),
            Some(Cow::Owned(key)) => seed.deserialize(key.into_deserializer()).map(Some),
            None => self.rest.next_key_seed(seed),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.rest.next_value_seed(seed)
    }
}

/// Rows that are lists; `frame` says what their values are.
pub(super) struct ListRows<'a, 's> {
    pub(super) state: &'a mut State<'s>,
    pub(super) frame: &'a Frame,
}

impl<'de> DeserializeSeed<'de> for ListRows<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ListRows<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows, each a list of values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.state.list = true;
        while seq.next_element_seed(ListRow { state: self.state, frame: self.frame })?.is_some() {}
        Ok(())
    }
}

/// One of them.
struct ListRow<'a, 's> {
    state: &'a mut State<'s>,
    frame: &'a Frame,
}

impl<'de> DeserializeSeed<'de> for ListRow<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.state.begin_row()?;
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ListRow<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row: a list of values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let state = self.state;
        let mut count = 0;
        let indices = match (self.frame, state.columns, state.builders.as_mut_slice()) {
            (Frame::Columns(indices), ..) => indices,
            (Frame::Matrix, [column, ..], [builder, ..]) => {
                builder.seen = state.rows + 1;
                builder.forms.nulls = true;
                if let Some((fault, input)) = (Cell { column, builder, depth: 0 }).visit_seq(seq)? {
                    state.fault(&column.name, fault, input);
                }
                state.end_row();
                return Ok(());
            }
            (Frame::Matrix, ..) => return Ok(()),
        };
        for index in indices {
            let Some(index) = *index else {
                count += usize::from(seq.next_element::<IgnoredAny>()?.is_some());
                continue;
            };
            let (Some(column), Some(builder)) = (state.columns.get(index), state.builders.get_mut(index)) else {
                continue;
            };
            match seq.next_element_seed(Cell { column, builder, depth: 0 })? {
                Some(fault) => {
                    builder.seen = state.rows + 1;
                    if let Some((fault, input)) = fault {
                        state.fault(&column.name, fault, input);
                    }
                }
                None => break,
            }
            count += 1;
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        if count != indices.len() {
            let (row, expected) = (state.rows, indices.len());
            let problem = format!("row {row}: expected {expected} values, one for each column, got {count}");
            return Err(state.stop(DecodeError::Table(problem)));
        }
        state.end_row();
        Ok(())
    }
}

/// An object of columns, each a list with a value for each row, or the value of an only row; for a bundle of one column
/// also its rows or its value alone.
pub(super) struct ColumnLists<'a, 's>(pub(super) &'a mut State<'s>);

impl ColumnLists<'_, '_> {
    /// The value of the only column.
    fn alone<E: de::Error>(self, put: impl FnOnce(ColumnList<'_, '_>) -> Result<(), E>) -> Result<(), E> {
        let state = self.0;
        if state.columns.len() != 1 {
            let problem = "expected an object of columns, or a list of rows, got a value by itself";
            return Err(state.stop(DecodeError::Table(problem.into())));
        }
        state.list = true;
        state.begin_row()?;
        state.builders.iter_mut().for_each(|builder| builder.seen = 1);
        put(ColumnList { state, index: 0 })
    }
}

impl<'de> DeserializeSeed<'de> for ColumnLists<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ColumnLists<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of columns, or a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        Instances(self.0).visit_seq(seq)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.alone(|column| column.visit_bool(value))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.alone(|column| column.visit_i64(value))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.alone(|column| column.visit_u64(value))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.alone(|column| column.visit_f64(value))
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.alone(|column| column.visit_str(value))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let state = self.0;
        state.list = true;
        let mut rows: Option<(String, u32)> = None;
        let mut guess = 0;
        let first = map.next_key_seed(Key)?;
        if first.as_deref() == Some(BASE64_KEY) && is_only_bytes(state) {
            state.begin_row()?;
            state.builders.iter_mut().for_each(|builder| builder.seen = 1);
            return ColumnList { state, index: 0 }.visit_map(Peeked { first, rest: map });
        }
        let mut map = Peeked { first, rest: map };
        while let Some(key) = map.next_key_seed(Key)? {
            let Some(index) = state.find(&key, guess) else {
                map.next_value::<IgnoredAny>()?;
                if !state.passes_over(&key) {
                    let problem = format!("unknown column '{}'", super::state::shorten(&key));
                    return Err(state.stop(DecodeError::Table(problem)));
                }
                continue;
            };
            guess = index + 1;
            if state.builders[index].seen > 0 {
                return Err(state.stop(DecodeError::Table(format!("column '{key}' is given twice"))));
            }
            state.builders[index].seen = 1;
            state.rows = 0;
            map.next_value_seed(ColumnList { state, index })?;
            match &rows {
                Some((first, count)) if *count != state.rows => {
                    let problem = format!("column '{first}' has {count} rows, '{key}' has {}", state.rows);
                    return Err(state.stop(DecodeError::Table(problem)));
                }
                _ => rows = Some((key.into_owned(), state.rows)),
            }
        }
        state.rows = rows.map_or(0, |(_, rows)| rows);
        complete(state)
    }
}

/// Fills in the columns that did not come, or says that they are missing.
fn complete<E: de::Error>(state: &mut State<'_>) -> Result<(), E> {
    let rows = state.rows;
    let absent = state.columns.iter().zip(&state.builders).filter(|(_, builder)| builder.seen == 0);
    let a_row: usize = absent.map(|(column, _)| Builder::missing_bytes(column)).sum();
    let bytes = state.bytes().saturating_add(a_row.saturating_mul(rows as usize));
    state.reach(bytes)?;
    for index in 0..state.columns.len() {
        let (column, builder) = (&state.columns[index], &mut state.builders[index]);
        if builder.seen > 0 {
            continue;
        }
        if column.nullable && column.inner_shape().is_empty() {
            (0..rows).for_each(|_| builder.push_missing(column));
        } else {
            state.list = false;
            state.fault(&column.name, ("missing", "Field required".into()), serde_json::Value::Null);
            state.list = true;
        }
        state.go_on()?;
    }
    Ok(())
}

/// One column's rows.
struct ColumnList<'a, 's> {
    state: &'a mut State<'s>,
    index: usize,
}

impl ColumnList<'_, '_> {
    fn put<E: de::Error>(self, put: impl FnOnce(Cell<'_>) -> Result<Option<super::cell::Fault>, E>) -> Result<(), E> {
        let column = &self.state.columns[self.index];
        if let Some((fault, input)) = put(Cell { column, builder: &mut self.state.builders[self.index], depth: 0 })? {
            self.state.fault(&column.name, fault, input);
        }
        self.state.rows += 1;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for ColumnList<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ColumnList<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list with a value for each row")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Self { state, index } = self;
        let column = &state.columns[index];
        loop {
            // One more than is allowed must be seen to be refused.
            let cell = Cell { column, builder: &mut state.builders[index], depth: 0 };
            let Some(fault) = seq.next_element_seed(cell)? else { return Ok(()) };
            state.begin_value()?;
            if let Some((fault, input)) = fault {
                state.fault(&column.name, fault, input);
            }
            state.rows += 1;
        }
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<(), E> {
        self.put(|cell| cell.visit_bool(value))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<(), E> {
        self.put(|cell| cell.visit_i64(value))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<(), E> {
        self.put(|cell| cell.visit_u64(value))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<(), E> {
        self.put(|cell| cell.visit_f64(value))
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<(), E> {
        self.put(|cell| cell.visit_str(value))
    }
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.put(|cell| cell.visit_unit())
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.put(|cell| cell.visit_map(map))
    }
}
