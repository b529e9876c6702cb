//! Plain Rust values to packed columns and back.

use modelgate_columns::{Column, Datatype, Values, View, Writer};

use crate::Error;

/// The values of one row, one for each column of the signature, in its order.
pub type Row = Vec<Value>;

/// One value of one row. Rust's own values turn into it with `from`: numbers, truth values, strings, `Option`s of them,
/// and arrays and vectors for columns of several values a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A missing value.
    Missing,
    /// A truth value.
    Bool(bool),
    /// An integer. It also fills a column of floats.
    Int(i128),
    /// A float.
    Float(f64),
    /// A string of bytes.
    Bytes(Vec<u8>),
    /// The values of one row of a column whose shape has more than one place, row-major.
    List(Vec<Self>),
}

macro_rules! values_from {
    ($($variant:ident($inner:ty): $($source:ty),*;)*) => {$($(
        impl From<$source> for Value {
            fn from(value: $source) -> Self {
                Self::$variant(<$inner>::from(value))
            }
        }
    )*)*};
}

values_from! {
    Bool(bool): bool;
    Int(i128): u8, u16, u32, u64, i8, i16, i32, i64;
    Float(f64): f32, f64;
    Bytes(Vec<u8>): &str, String, &[u8], Vec<u8>;
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}

impl<T: Into<Self>, const N: usize> From<[T; N]> for Value {
    fn from(values: [T; N]) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl From<Vec<Self>> for Value {
    fn from(values: Vec<Self>) -> Self {
        Self::List(values)
    }
}

/// Packs rows; says which value does not fit its column.
pub(super) fn pack(columns: &[Column], rows: &[Row]) -> Result<Vec<u64>, Error> {
    if let Some(row) = rows.iter().position(|row| row.len() != columns.len()) {
        return Err(wrong(format!("row {row}: expected {} values, got {}", columns.len(), rows[row].len())));
    }
    let mut writer = Writer::default();
    for (place, column) in columns.iter().enumerate() {
        let values: Vec<&Value> = rows
            .iter()
            .flat_map(|row| match &row[place] {
                Value::List(values) => values.iter().collect(),
                value => vec![value],
            })
            .collect();
        pack_column(&mut writer, column, rows.len(), &values)?;
    }
    Ok(writer.finish())
}

fn pack_column(writer: &mut Writer, column: &Column, rows: usize, values: &[&Value]) -> Result<(), Error> {
    let row_size = values.len() / rows.max(1);
    match column.inner_shape().iter().filter(|&&dim| dim < 0).count() {
        0 => {}
        1 => {
            let fixed: i64 = column.inner_shape().iter().filter(|&&dim| dim >= 0).product();
            writer.dims(&[row_size as u64 / u64::try_from(fixed).unwrap_or(1).max(1)]);
        }
        _ => {
            return Err(wrong(format!("{column}: the mock packs at most one inner dimension that varies")));
        }
    }
    if column.row_size().is_some_and(|size| size * rows != values.len()) {
        return Err(wrong(format!("{column}: got {} values in {rows} rows", values.len())));
    }
    if column.nullable {
        writer.validity(&values.iter().map(|value| u8::from(**value != Value::Missing)).collect::<Vec<_>>());
    }
    macro_rules! ints {
        ($type:ty) => {
            writer.fixed(&convert(column, values, |value| match value {
                Value::Int(value) => <$type>::try_from(*value).ok(),
                _ => None,
            })?)
        };
    }
    match column.datatype {
        Datatype::Bool => writer.fixed(&convert(column, values, |value| match value {
            Value::Bool(value) => Some(u8::from(*value)),
            _ => None,
        })?),
        Datatype::U8 => ints!(u8),
        Datatype::U16 | Datatype::F16 => ints!(u16),
        Datatype::U32 => ints!(u32),
        Datatype::U64 => ints!(u64),
        Datatype::I8 => ints!(i8),
        Datatype::I16 => ints!(i16),
        Datatype::I32 => ints!(i32),
        Datatype::I64 => ints!(i64),
        Datatype::F32 => writer.fixed(&convert(column, values, |value| float(value).map(|value| value as f32))?),
        Datatype::F64 => writer.fixed(&convert(column, values, float)?),
        Datatype::Bytes => {
            let strings = convert(column, values, |value| match value {
                Value::Bytes(bytes) => Some(bytes.as_slice()),
                _ => None,
            })?;
            writer.strings(strings.into_iter())?;
        }
    }
    Ok(())
}

fn convert<'v, T: Default>(
    column: &Column,
    values: &[&'v Value],
    one: impl Fn(&'v Value) -> Option<T>,
) -> Result<Vec<T>, Error> {
    let each = values.iter().map(|&value| match value {
        Value::Missing if column.nullable => Ok(T::default()),
        value => one(value).ok_or_else(|| wrong(format!("{value:?} does not fit {column}"))),
    });
    each.collect()
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(value) => Some(*value),
        Value::Int(value) => Some(*value as f64),
        _ => None,
    }
}

fn wrong(message: String) -> Error {
    Error::Internal(message)
}

/// The values of one row of one column.
pub(super) fn unpack(column: &Column, view: &View<'_>, row: usize) -> Value {
    let one = |place: usize| {
        if !view.is_valid(place) {
            return Value::Missing;
        }
        match view.values {
            Values::Bool(values) => Value::Bool(values[place] != 0),
            Values::U8(values) => values[place].into(),
            Values::U16(values) | Values::F16(values) => values[place].into(),
            Values::U32(values) => values[place].into(),
            Values::U64(values) => values[place].into(),
            Values::I8(values) => values[place].into(),
            Values::I16(values) => values[place].into(),
            Values::I32(values) => values[place].into(),
            Values::I64(values) => values[place].into(),
            Values::F32(values) => values[place].into(),
            Values::F64(values) => values[place].into(),
            Values::Bytes(strings) => strings.get(place).unwrap_or_default().into(),
        }
    };
    if column.shape.len() == 1 {
        return one(row);
    }
    Value::List((row * view.row_size..(row + 1) * view.row_size).map(one).collect())
}
