//! From packed columns to the rows that a booster takes.

use std::borrow::Cow;

use modelgate_boosters::{Kind, Library};
use modelgate_columns::{Column, Datatype, LayoutError, Reader, Values, View};

/// Rows as the booster takes them.
pub(super) struct Unpacked<'a> {
    pub(super) numbers: Features,
    /// Of features that are categories, row by row.
    texts: Vec<Option<Cow<'a, [u8]>>>,
}

/// Features that are numbers, row by row, in the type that the library computes with.
pub(super) enum Features {
    Single(Vec<f32>),
    Double(Vec<f64>),
}

impl<'a> Unpacked<'a> {
    /// Of so many rows. `kinds` are the features'; one column, a matrix, may stand for all of them.
    pub(super) fn read(
        columns: &[Column],
        kinds: &[Kind],
        library: Library,
        rows: u32,
        words: &'a [u64],
    ) -> Result<Self, LayoutError> {
        let count = rows as usize;
        let width = kinds.iter().filter(|&&kind| kind == Kind::Number).count();
        let texts = kinds.len() - width;
        // Checked before there is room for the rows: each value takes its bytes, and a text an offset at least.
        let sizes = columns.iter().map(|column| {
            column.datatype.size().unwrap_or(size_of::<u32>()).saturating_mul(column.row_size().unwrap_or(1))
        });
        let least = count.saturating_mul(sizes.fold(0, usize::saturating_add));
        if least > size_of_val(words) {
            let message = format!("{rows} rows take {least} bytes at least, got {}", size_of_val(words));
            return Err(LayoutError { column: String::new(), message });
        }
        let mut numbers = match library {
            Library::LightGbm => Features::Double(vec![0.0; count * width]),
            Library::XgBoost | Library::CatBoost => Features::Single(vec![0.0; count * width]),
        };
        let mut words_of = vec![None; count * texts];
        let mut reader = Reader::new(rows, words);
        let (mut number, mut text) = (0, 0);
        for (index, column) in columns.iter().enumerate() {
            let view = reader.next(column)?;
            if column.datatype == Datatype::Bytes || kinds.get(index) == Some(&Kind::Category) {
                categories(&mut words_of, &view, text, texts);
                text += 1;
            } else {
                numbers.put(&view, number, width);
                number += view.row_size;
            }
        }
        reader.finish()?;
        Ok(Self { numbers, texts: words_of })
    }

    /// The texts of categories, row by row.
    pub(super) fn texts(&self) -> Vec<Option<&[u8]>> {
        self.texts.iter().map(Option::as_deref).collect()
    }
}

/// Puts a column's categories into each row. Whole numbers are categories by their digits, as CatBoost writes them.
fn categories<'a>(texts: &mut [Option<Cow<'a, [u8]>>], view: &View<'a>, index: usize, width: usize) {
    let digits = |number: i64| Cow::Owned(number.to_string().into_bytes());
    for (row, texts) in texts.chunks_exact_mut(width).enumerate().filter(|(row, _)| view.is_valid(*row)) {
        texts[index] = match view.values {
            Values::Bytes(strings) => strings.get(row).map(Cow::Borrowed),
            Values::Bool(flags) => flags.get(row).map(|&flag| digits(i64::from(flag != 0))),
            Values::I32(numbers) => numbers.get(row).map(|&number| digits(i64::from(number))),
            Values::I64(numbers) => numbers.get(row).map(|&number| digits(number)),
            _ => None,
        };
    }
}

impl Features {
    /// Puts a column's values into each row, from place `first` of `width` on. A value that is missing is a NaN.
    fn put(&mut self, view: &View<'_>, first: usize, width: usize) {
        match self {
            Self::Single(features) => put(features, view, first, width, f32::NAN),
            Self::Double(features) => put(features, view, first, width, f64::NAN),
        }
    }
}

/// The types that libraries compute with, of the values that columns have.
trait Computed: Copy {
    fn single(value: f32) -> Self;
    fn double(value: f64) -> Self;
    fn whole(value: i64) -> Self;
}

impl Computed for f32 {
    fn single(value: f32) -> Self {
        value
    }

    fn double(value: f64) -> Self {
        value as Self
    }

    fn whole(value: i64) -> Self {
        value as Self
    }
}

impl Computed for f64 {
    fn single(value: f32) -> Self {
        Self::from(value)
    }

    fn double(value: f64) -> Self {
        value
    }

    fn whole(value: i64) -> Self {
        value as Self
    }
}

fn put<T: Computed>(features: &mut [T], view: &View<'_>, first: usize, width: usize, missing: T) {
    match view.values {
        Values::Bool(values) => fill(features, view, first, width, values, |flag| T::whole(i64::from(flag != 0))),
        Values::I32(values) => fill(features, view, first, width, values, |value| T::whole(i64::from(value))),
        Values::I64(values) => fill(features, view, first, width, values, T::whole),
        Values::F32(values) => fill(features, view, first, width, values, T::single),
        Values::F64(values) => fill(features, view, first, width, values, T::double),
        // No column has another type.
        _ => {}
    }
    let size = view.row_size;
    if view.validity.is_some() && size > 0 {
        for (row, target) in features.chunks_exact_mut(width).enumerate() {
            for (index, value) in target[first..first + size].iter_mut().enumerate() {
                if !view.is_valid(row * size + index) {
                    *value = missing;
                }
            }
        }
    }
}

fn fill<S: Copy, T: Copy>(
    features: &mut [T],
    view: &View<'_>,
    first: usize,
    width: usize,
    values: &[S],
    convert: impl Fn(S) -> T,
) {
    let size = view.row_size;
    if size == 0 {
        return;
    }
    for (target, source) in features.chunks_exact_mut(width).zip(values.chunks_exact(size)) {
        for (target, &source) in target[first..first + size].iter_mut().zip(source) {
            *target = convert(source);
        }
    }
}
