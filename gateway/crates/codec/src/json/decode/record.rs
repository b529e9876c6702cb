//! Records: a list of objects, each a row of a frame.

use std::{collections::HashMap, fmt};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{
    cell::{Cell, Key},
    frame::{self, matrix, wrong_width},
    row::Row,
    state::{DecodeError, State, shorten},
    table::Peeked,
};

/// A list of them.
pub(super) struct Records<'a, 's>(pub(super) &'a mut State<'s>);

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
        if matrix(self.0.columns).is_none() {
            while seq.next_element_seed(Row(self.0))?.is_some() {}
            return Ok(());
        }
        let mut names = Names::default();
        while seq.next_element_seed(MatrixRecord { state: self.0, names: &mut names })?.is_some() {}
        Ok(())
    }
}

/// The columns of a frame that is a matrix, in the order of the first record.
#[derive(Default)]
struct Names {
    indices: HashMap<String, usize>,
    /// Each with the row that had it last, counted from 1.
    in_order: Vec<(String, u32)>,
    /// Whether the records are rows of the matrix; unknown before the first one.
    is_frame: Option<bool>,
}

impl Names {
    fn index(&self, name: &str, guess: usize) -> Option<usize> {
        match self.in_order.get(guess) {
            Some((next, _)) if next == name => Some(guess),
            _ => self.indices.get(name).copied(),
        }
    }

    fn add(&mut self, name: &str) -> usize {
        let index = self.in_order.len();
        self.indices.insert(name.to_owned(), index);
        self.in_order.push((name.to_owned(), 0));
        index
    }

    /// Notes that a row has a value for a column; whether it is the row's first.
    fn is_new(&mut self, index: usize, row: u32) -> bool {
        self.in_order.get_mut(index).is_some_and(|(_, last)| std::mem::replace(last, row) != row)
    }
}

/// A record for a bundle of one matrix: an object with the matrix's name, or one with a value for each of its columns.
struct MatrixRecord<'a, 's> {
    state: &'a mut State<'s>,
    names: &'a mut Names,
}

impl<'de> DeserializeSeed<'de> for MatrixRecord<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.state.begin_row()?;
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MatrixRecord<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { state, names } = self;
        let Some(column) = matrix(state.columns) else { return Row(state).visit_map(map) };
        let mut key = map.next_key_seed(Key)?;
        let is_first = names.is_frame.is_none();
        // The matrix's own name at any place makes it a usual row; a frame that has it beside others is a rare one.
        if !*names.is_frame.get_or_insert_with(|| key.as_deref().is_some_and(|key| key != column.name)) {
            return Row(state).visit_map(Peeked { first: key, rest: map });
        }
        let width = column.inner_shape().first().copied().unwrap_or(-1);
        let fits = |count: usize| width < 0 || usize::try_from(width) == Ok(count);
        let row = state.rows + 1;
        let mut order = Vec::with_capacity(names.in_order.len());
        let most = frame::most_names(state.columns);
        while let Some(name) = key {
            state.go_on()?;
            let index = match names.index(&name, order.len()) {
                Some(index) => index,
                None if is_first && names.in_order.len() < most => names.add(&name),
                None if is_first => {
                    let problem = format!("a record has {most} columns at most, got more");
                    return Err(state.stop(DecodeError::Table(problem)));
                }
                None => {
                    let problem = format!("row {}: column '{}' is not in the first record", state.rows, shorten(&name));
                    return Err(state.stop(DecodeError::Table(problem)));
                }
            };
            if !names.is_new(index, row) {
                state.fault(&name, ("duplicate_key", "Field given twice".into()), Value::Null);
                map.next_value::<IgnoredAny>()?;
            } else if let Some(builder) = state.builders.first_mut() {
                builder.forms.nulls = true;
                if let Some((fault, input)) = map.next_value_seed(Cell { column, builder, depth: 1 })? {
                    state.fault(&name, fault, input);
                }
                order.push(index);
            }
            key = map.next_key_seed(Key)?;
        }
        if !fits(names.in_order.len()) {
            let problem = wrong_width(column, width, names.in_order.len());
            return Err(state.stop(DecodeError::Table(problem)));
        }
        let absent = names.in_order.iter().enumerate().filter(|(_, (_, last))| *last != row);
        for (index, (name, _)) in absent {
            if state.builders.first_mut().is_some_and(|builder| builder.push_null(column)) {
                order.push(index);
            } else {
                state.fault(name, ("missing", "Field required".into()), Value::Null);
            }
        }
        if let Some(builder) = state.builders.first_mut() {
            builder.seen = row;
            if state.errors.is_empty() {
                builder.dims[0] = u64::try_from(order.len()).ok();
                frame::reorder(builder, column, &order);
            }
        }
        state.end_row();
        Ok(())
    }
}
