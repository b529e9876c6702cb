//! Views of packed columns: borrowed, checked once, and free of copies.

use crate::{Column, Datatype, LayoutError};

/// Lists that a column without values may have: they take no words, and bytes of an answer in JSON.
const MAX_EMPTY_LISTS: usize = 1 << 20;

/// Whether a column of so many rows with these inner sizes is more lists than anybody means: `[1, 2^62, 0]` is no value in
/// 2^62 lists.
pub fn is_hollow(rows: usize, sizes: impl IntoIterator<Item = usize>) -> bool {
    let mut lists = rows;
    for size in sizes {
        if size == 0 {
            return lists > rows.max(MAX_EMPTY_LISTS);
        }
        lists = lists.saturating_mul(size);
    }
    false
}

/// Walks a packed batch column by column.
#[derive(Debug)]
pub struct Reader<'a> {
    rows: usize,
    words: &'a [u64],
}

impl<'a> Reader<'a> {
    /// Starts at the first column of `words`.
    pub fn new(rows: u32, words: &'a [u64]) -> Self {
        Self { rows: rows as usize, words }
    }

    /// The next column, which must be laid out as `column` says.
    pub fn next(&mut self, column: &Column) -> Result<View<'a>, LayoutError> {
        let fault = |message: String| LayoutError::new(&column.name, message);
        let mut count = self.rows;
        let mut row_size = 1usize;
        let varying = column.inner_shape().iter().filter(|&&dim| dim < 0).count();
        let dims = self.take(varying).ok_or_else(|| fault("ends within its dimensions".into()))?;
        let sizes = || {
            let mut told = dims.iter();
            let mut size = move |dim: i64| if dim < 0 { told.next().copied().unwrap_or(0) } else { dim as u64 };
            column.inner_shape().iter().map(move |&dim| size(dim))
        };
        for size in sizes() {
            let size = usize::try_from(size).map_err(|_| fault(format!("dimension {size} is too large")))?;
            row_size = row_size.checked_mul(size).ok_or_else(|| fault("dimensions overflow".into()))?;
        }
        if row_size == 0 && is_hollow(self.rows, sizes().map(|size| size as usize)) {
            return Err(fault("too many lists without values".into()));
        }
        count = count.checked_mul(row_size).ok_or_else(|| fault("dimensions overflow".into()))?;

        let validity = if column.nullable {
            let words = self.take(count.div_ceil(8)).ok_or_else(|| fault("ends within its validity".into()))?;
            Some(&bytemuck::cast_slice::<u64, u8>(words)[..count])
        } else {
            None
        };
        let short = |left: usize| {
            fault(format!("expected {count} values of {}, got {} bytes", column.datatype, left.saturating_mul(8)))
        };
        let left = self.words.len();
        let values = match column.datatype.size() {
            Some(size) => {
                let bytes = count.checked_mul(size).ok_or_else(|| short(left))?;
                let words = self.take(bytes.div_ceil(8)).ok_or_else(|| short(left))?;
                Values::fixed(column.datatype, &bytemuck::cast_slice::<u64, u8>(words)[..bytes])
            }
            None => Values::Bytes(self.strings(count).map_err(fault)?),
        };
        Ok(View { rows: self.rows, row_size, dims, validity, values })
    }

    /// Says that nothing may follow.
    pub fn finish(self) -> Result<(), LayoutError> {
        match self.words.len() {
            0 => Ok(()),
            left => Err(LayoutError::new("", format!("{} bytes follow the last column", left.saturating_mul(8)))),
        }
    }

    fn take(&mut self, words: usize) -> Option<&'a [u64]> {
        let (head, tail) = self.words.split_at_checked(words)?;
        self.words = tail;
        Some(head)
    }

    fn strings(&mut self, count: usize) -> Result<Strings<'a>, String> {
        let places = count.checked_add(1).ok_or("too many values")?;
        let words = self.take(places.div_ceil(2)).ok_or("ends within its offsets")?;
        let offsets = &bytemuck::cast_slice::<u64, u32>(words)[..places];
        if offsets[0] != 0 || offsets.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err("offsets must start at 0 and never decrease".into());
        }
        let bytes = offsets[count] as usize;
        let words = self.take(bytes.div_ceil(8)).ok_or("an offset points past the end")?;
        Ok(Strings { offsets, data: &bytemuck::cast_slice::<u64, u8>(words)[..bytes] })
    }
}

/// One column of a batch.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Rows in the batch.
    pub rows: usize,
    /// Values in each row.
    pub row_size: usize,
    /// The sizes of the inner dimensions that vary, in order; empty if none does.
    pub dims: &'a [u64],
    /// One byte for each value, 0 where it is missing; `None` if the column is not nullable.
    pub validity: Option<&'a [u8]>,
    /// The values, missing ones too (whatever they hold).
    pub values: Values<'a>,
}

impl View<'_> {
    /// The shape of this batch's column, rows first.
    pub fn shape(&self, column: &Column) -> Vec<usize> {
        let mut dims = self.dims.iter();
        std::iter::once(self.rows)
            .chain(column.inner_shape().iter().map(|&dim| match dim {
                -1 => dims.next().copied().unwrap_or(0) as usize,
                dim => dim as usize,
            }))
            .collect()
    }

    /// Whether the value at that place (row-major) is present.
    #[inline]
    pub fn is_valid(&self, place: usize) -> bool {
        self.validity.is_none_or(|validity| validity.get(place).is_some_and(|&byte| byte != 0))
    }
}

/// The values of a column by type.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// One byte each; anything but 0 is true.
    Bool(&'a [u8]),
    /// `u8` values.
    U8(&'a [u8]),
    /// `u16` values.
    U16(&'a [u16]),
    /// `u32` values.
    U32(&'a [u32]),
    /// `u64` values.
    U64(&'a [u64]),
    /// `i8` values.
    I8(&'a [i8]),
    /// `i16` values.
    I16(&'a [i16]),
    /// `i32` values.
    I32(&'a [i32]),
    /// `i64` values.
    I64(&'a [i64]),
    /// The bits of half-precision floats.
    F16(&'a [u16]),
    /// `f32` values.
    F32(&'a [f32]),
    /// `f64` values.
    F64(&'a [f64]),
    /// Byte strings.
    Bytes(Strings<'a>),
}

impl<'a> Values<'a> {
    /// `bytes` must start on a word boundary and hold whole values, as `Reader` makes sure.
    fn fixed(datatype: Datatype, bytes: &'a [u8]) -> Self {
        use bytemuck::cast_slice as cast;
        match datatype {
            Datatype::Bool => Self::Bool(bytes),
            Datatype::U8 | Datatype::Bytes => Self::U8(bytes),
            Datatype::U16 => Self::U16(cast(bytes)),
            Datatype::U32 => Self::U32(cast(bytes)),
            Datatype::U64 => Self::U64(cast(bytes)),
            Datatype::I8 => Self::I8(cast(bytes)),
            Datatype::I16 => Self::I16(cast(bytes)),
            Datatype::I32 => Self::I32(cast(bytes)),
            Datatype::I64 => Self::I64(cast(bytes)),
            Datatype::F16 => Self::F16(cast(bytes)),
            Datatype::F32 => Self::F32(cast(bytes)),
            Datatype::F64 => Self::F64(cast(bytes)),
        }
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::Bool(values) | Self::U8(values) => values.len(),
            Self::U16(values) | Self::F16(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::U64(values) => values.len(),
            Self::I8(values) => values.len(),
            Self::I16(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::Bytes(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The raw little-endian bytes of fixed-size values; `None` for byte strings.
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        use bytemuck::cast_slice as cast;
        Some(match *self {
            Self::Bool(values) | Self::U8(values) => values,
            Self::U16(values) | Self::F16(values) => cast(values),
            Self::U32(values) => cast(values),
            Self::U64(values) => cast(values),
            Self::I8(values) => cast(values),
            Self::I16(values) => cast(values),
            Self::I32(values) => cast(values),
            Self::I64(values) => cast(values),
            Self::F32(values) => cast(values),
            Self::F64(values) => cast(values),
            Self::Bytes(_) => return None,
        })
    }
}

/// Byte strings, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a> {
    offsets: &'a [u32],
    data: &'a [u8],
}

impl<'a> Strings<'a> {
    /// The number of values.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where each begins and, one place further, ends in [`data`](Self::data). They start at 0 and never decrease.
    pub fn offsets(&self) -> &'a [u32] {
        self.offsets
    }

    /// The bytes of all of them.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The one at that place.
    #[inline]
    pub fn get(&self, place: usize) -> Option<&'a [u8]> {
        let start = *self.offsets.get(place)? as usize;
        let end = *self.offsets.get(place.checked_add(1)?)? as usize;
        self.data.get(start..end)
    }

    /// Each in turn.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let Self { offsets, data } = *self;
        offsets.windows(2).map(move |pair| &data[pair[0] as usize..pair[1] as usize])
    }
}

/// Checks that `words` is a batch of these columns with this many rows.
pub fn validate(columns: &[Column], rows: u32, words: &[u64]) -> Result<(), LayoutError> {
    let mut reader = Reader::new(rows, words);
    for column in columns {
        reader.next(column)?;
    }
    reader.finish()
}
