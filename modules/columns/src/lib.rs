//! Named, typed, packed columns: the data format between modelgate and its modules.
//!
//! A batch is a number of rows and, for each [`Column`] of a signature, in that order, one *packed* column. Names and
//! shapes are agreed once, when a module starts, so a call carries only the row count and one list of 8-byte words.
//!
//! # Layout of one packed column
//!
//! Every part starts on a word (8-byte) boundary and is padded with zeros to the next one. Numbers are little-endian.
//!
//! 1. **Dimensions**, only if the column's shape has `-1` after its first place: one `u64` for each such place.
//! 2. **Validity**, only if the column is nullable: one byte for each value, 1 for present and 0 for missing.
//! 3. **Values**: `rows × the product of the inner dimensions` values, row-major. For [`Datatype::Bytes`]: `count + 1`
//!    offsets (`u32`, the first is 0, never decreasing), padded, then the bytes themselves.
//!
//! The words of the last column end the batch: nothing may follow.

mod batch;
pub mod parts;
mod read;
mod write;

pub use batch::Batch;
pub use read::{Reader, Strings, Values, View, is_hollow, validate};
pub use write::Writer;

use std::fmt;

/// The type of each value in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Datatype {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned, 1 byte.
    U8,
    /// Unsigned, 2 bytes.
    U16,
    /// Unsigned, 4 bytes.
    U32,
    /// Unsigned, 8 bytes.
    U64,
    /// Signed, 1 byte.
    I8,
    /// Signed, 2 bytes.
    I16,
    /// Signed, 4 bytes.
    I32,
    /// Signed, 8 bytes.
    I64,
    /// IEEE 754 binary16, held as its bits.
    F16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// A string of bytes of any length; UTF-8 where a string is meant.
    Bytes,
}

impl Datatype {
    /// Every datatype, in the order of the contract's `enum datatype`.
    pub const ALL: [Self; 13] = [
        Self::Bool,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::F16,
        Self::F32,
        Self::F64,
        Self::Bytes,
    ];

    /// Bytes of one value; `None` for [`Datatype::Bytes`], whose values vary in length.
    pub const fn size(self) -> Option<usize> {
        match self {
            Self::Bool | Self::U8 | Self::I8 => Some(1),
            Self::U16 | Self::I16 | Self::F16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Bytes => None,
        }
    }

    /// The lower-case name used in configs and in the module contract: `f32`, `bytes`, …
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bytes => "bytes",
        }
    }

    /// The datatype of that lower-case name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|datatype| datatype.name() == name)
    }

    /// The name that the Open Inference Protocol gives it: `FP32`, `BYTES`, …
    pub const fn protocol_name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::U8 => "UINT8",
            Self::U16 => "UINT16",
            Self::U32 => "UINT32",
            Self::U64 => "UINT64",
            Self::I8 => "INT8",
            Self::I16 => "INT16",
            Self::I32 => "INT32",
            Self::I64 => "INT64",
            Self::F16 => "FP16",
            Self::F32 => "FP32",
            Self::F64 => "FP64",
            Self::Bytes => "BYTES",
        }
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The content of one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, unique among its signature's inputs or outputs.
    pub name: String,
    /// The type of each value.
    pub datatype: Datatype,
    /// The first place stands for the rows and is always -1; each further place is a fixed size, or -1 for one that is
    /// told with each batch. `[-1]` is one value for each row, `[-1, 54]` a matrix.
    pub shape: Vec<i64>,
    /// Whether values may be missing. If so, the packed column carries a validity byte for each value.
    pub nullable: bool,
    /// The values a categorical column is known to take; empty if it is not categorical. For people and documents: a
    /// value outside it is for the module to judge.
    pub categories: Vec<String>,
}

impl Column {
    /// A column of one value for each row, none missing.
    pub fn scalar(name: impl Into<String>, datatype: Datatype) -> Self {
        Self::new(name, datatype, [-1])
    }

    /// A column of this shape, none missing, without known categories.
    pub fn new(name: impl Into<String>, datatype: Datatype, shape: impl Into<Vec<i64>>) -> Self {
        Self { name: name.into(), datatype, shape: shape.into(), nullable: false, categories: Vec::new() }
    }

    /// The places after the first.
    pub fn inner_shape(&self) -> &[i64] {
        self.shape.get(1..).unwrap_or_default()
    }

    /// Values in each row, if the shape says (no inner `-1`) and the product does not overflow.
    pub fn row_size(&self) -> Option<usize> {
        self.inner_shape().iter().try_fold(1usize, |product, &dim| product.checked_mul(usize::try_from(dim).ok()?))
    }

    /// Whether the other column is laid out the same way (names and categories aside).
    pub fn same_layout(&self, other: &Self) -> bool {
        self.datatype == other.datatype && self.shape == other.shape && self.nullable == other.nullable
    }
}

/// `name: f32[-1,54]`, with a `?` behind a nullable one.
impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{:?}{}", self.name, self.datatype, self.shape, if self.nullable { "?" } else { "" })
    }
}

/// The columns that go in and those that come out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// The columns taken, in packed order.
    pub inputs: Vec<Column>,
    /// The columns given, in packed order.
    pub outputs: Vec<Column>,
}

impl Signature {
    /// Checks what every user of a signature relies on: names present and unique on each side, the first place of each
    /// shape -1 and the others -1 or more.
    pub fn check(&self) -> Result<(), LayoutError> {
        for side in [&self.inputs, &self.outputs] {
            for (place, column) in side.iter().enumerate() {
                let problem = if column.name.is_empty() {
                    format!("column {place} has no name")
                } else if side[..place].iter().any(|earlier| earlier.name == column.name) {
                    "named twice".to_owned()
                } else if column.shape.first() != Some(&-1) || column.inner_shape().iter().any(|&dim| dim < -1) {
                    format!("expected a shape [-1, …] of sizes, or -1 where they vary, got {:?}", column.shape)
                } else {
                    continue;
                };
                return Err(LayoutError::new(&column.name, problem));
            }
        }
        Ok(())
    }
}

/// Packed words that are not what the signature says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutError {
    /// The column at fault; empty if it is the batch as a whole.
    pub column: String,
    /// The expectation, and the value that came.
    pub message: String,
}

impl LayoutError {
    fn new(column: &str, message: impl Into<String>) -> Self {
        Self { column: column.to_owned(), message: message.into() }
    }
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.column.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "column '{}': {}", self.column, self.message)
        }
    }
}

impl std::error::Error for LayoutError {}
