//! A column as it grows, value by value, and the packed batch that columns become.

use modelgate_columns::{Column, Datatype, Writer};

/// Packs the columns, which must hold the same number of rows.
pub(crate) fn pack(columns: &[Column], builders: Vec<Builder>) -> Vec<u64> {
    let words = builders.iter().map(|builder| builder.data.len() / 8 + builder.ends.len() / 2 + 4).sum();
    let mut writer = Writer::with_capacity(words);
    for (column, builder) in columns.iter().zip(builders) {
        let mut sizes = builder.dims.iter().map(|dim| dim.unwrap_or(0));
        let dims: Vec<u64> =
            column.inner_shape().iter().zip(&mut sizes).filter(|&(&size, _)| size < 0).map(|(_, dim)| dim).collect();
        writer.dims(&dims);
        if column.nullable {
            writer.validity(&builder.validity);
        }
        if column.datatype == Datatype::Bytes {
            writer.fixed(&builder.ends);
        }
        writer.fixed(&builder.data);
    }
    writer.finish()
}

/// Forms of a value that are taken beside those of its JSON type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each form is taken or not, whatever the others")]
pub(crate) struct Forms {
    /// The body is rewritten: marked strings stand for `NaN` and the infinities (see [`tokens`](super::tokens)).
    pub(crate) tokens: bool,
    /// Numbers as text, and 0, 1 and words for booleans, as pydantic's default mode takes them.
    pub(crate) lax: bool,
    /// `{"b64": "…"}` for the bytes of a string, as TensorFlow Serving's clients write them.
    pub(crate) base64: bool,
    /// Null for a float that is NaN, as pandas writes a frame.
    pub(crate) nulls: bool,
}

/// A column as it grows.
#[derive(Debug)]
pub(crate) struct Builder {
    /// Values back to back; for byte strings, their bytes.
    pub(crate) data: Vec<u8>,
    /// For byte strings: where each ends; the first entry is 0.
    pub(crate) ends: Vec<u32>,
    /// 1 present, 0 missing; only kept for nullable columns.
    pub(crate) validity: Vec<u8>,
    /// The inner dimensions, once the first row has told those that vary.
    pub(crate) dims: Vec<Option<u64>>,
    /// The row that set it last, counted from 1.
    pub(crate) seen: u32,
    /// The ways in which values may be written.
    pub(crate) forms: Forms,
}

impl Builder {
    pub(crate) fn new(column: &Column) -> Self {
        Self {
            data: Vec::new(),
            ends: if column.datatype == Datatype::Bytes { vec![0] } else { Vec::new() },
            validity: Vec::new(),
            dims: column.inner_shape().iter().map(|&dim| u64::try_from(dim).ok()).collect(),
            seen: 0,
            forms: Forms::default(),
        }
    }

    /// Bytes that its values take.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len() + 4 * self.ends.len() + self.validity.len()
    }

    pub(crate) fn push(&mut self, column: &Column, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        if column.nullable {
            self.validity.push(1);
        }
    }

    /// Pushes NaN where the column is of floats and may have it written as null; tells whether it did.
    pub(crate) fn push_null(&mut self, column: &Column) -> bool {
        match column.datatype {
            Datatype::F32 if self.forms.nulls => self.push(column, &f32::NAN.to_le_bytes()),
            Datatype::F64 if self.forms.nulls => self.push(column, &f64::NAN.to_le_bytes()),
            _ => return false,
        }
        true
    }

    /// Bytes that one missing value takes.
    pub(crate) fn missing_bytes(column: &Column) -> usize {
        1 + column.datatype.size().unwrap_or(4)
    }

    pub(crate) fn push_missing(&mut self, column: &Column) {
        match column.datatype {
            Datatype::F32 => self.data.extend_from_slice(&f32::NAN.to_le_bytes()),
            Datatype::F64 => self.data.extend_from_slice(&f64::NAN.to_le_bytes()),
            Datatype::Bytes => self.ends.push(self.ends.last().copied().unwrap_or(0)),
            other => self.data.resize(self.data.len() + other.size().unwrap_or(0), 0),
        }
        self.validity.push(0);
    }
}
