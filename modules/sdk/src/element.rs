//! The Rust type of each datatype.

use bytemuck::Pod;
use modelgate_columns::{Datatype, Values};

/// A number that a column can hold: `u8` to `u64`, `i8` to `i64`, `f32` and `f64`.
///
/// Booleans, half floats and strings have views of their own.
pub trait Element: Pod + sealed::Sealed {
    /// The datatype of a column of these.
    const DATATYPE: Datatype;

    /// The values, if they are of this type.
    fn slice(values: Values<'_>) -> Option<&[Self]>;
}

mod sealed {
    /// Only the contract's own types are elements.
    pub trait Sealed {}
}

macro_rules! elements {
    ($($element:ty: $variant:ident),*) => {$(
        impl sealed::Sealed for $element {}
        impl Element for $element {
            const DATATYPE: Datatype = Datatype::$variant;
            #[inline]
            fn slice(values: Values<'_>) -> Option<&[Self]> {
                match values {
                    Values::$variant(values) => Some(values),
                    _ => None,
                }
            }
        }
    )*};
}

elements!(u8: U8, u16: U16, u32: U32, u64: U64, i8: I8, i16: I16, i32: I32, i64: I64, f32: F32, f64: F64);
