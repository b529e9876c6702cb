//! Frames: rows of named columns, as pandas has them, and how their columns are those that a bundle takes.

use modelgate_columns::Column;

use super::{builder::Builder, names::Inputs, state::shorten};
use crate::bounds::OTHER_NAMES;

/// Names that a frame may have: those of the bundle's columns, or a name for each value of its matrix, and some others.
pub(crate) fn most_names(columns: &[Column]) -> usize {
    let width = matrix(columns).and_then(|column| usize::try_from(*column.inner_shape().first()?).ok());
    columns.len().saturating_add(width.unwrap_or(0)).saturating_add(OTHER_NAMES)
}

/// The meaning of a frame's columns to the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// For each column of the frame, the bundle's column of that name.
    Columns(Vec<Option<usize>>),
    /// All of them together are the rows of the only column that the bundle takes.
    Matrix,
}

impl Frame {
    /// By the names of a frame's columns. A bundle of one matrix takes any names, as MLflow's servers hand it the frame's
    /// values alone, unless one of them is the matrix's own.
    ///
    /// # Errors
    /// A name that stands twice, or a frame that is not as wide as the matrix; the whole text.
    pub(crate) fn from_names<'n>(
        names: impl Iterator<Item = &'n str> + Clone,
        inputs: Inputs<'_>,
    ) -> Result<Self, String> {
        let mut guess = 0;
        let indices: Vec<_> = names
            .clone()
            .map(|name| {
                let index = inputs.find(name, guess);
                guess = index.map_or(guess, |index| index + 1);
                index
            })
            .collect();
        if let Some(column) = matrix(inputs.columns)
            && indices.iter().all(Option::is_none)
        {
            return match column.inner_shape() {
                [width] if *width >= 0 && usize::try_from(*width) != Ok(indices.len()) => {
                    Err(wrong_width(column, *width, indices.len()))
                }
                _ => Ok(Self::Matrix),
            };
        }
        let mut seen = vec![false; inputs.columns.len()];
        for (name, index) in names.zip(&indices) {
            if let Some(seen) = index.and_then(|index| seen.get_mut(index))
                && std::mem::replace(seen, true)
            {
                return Err(format!("column '{}' is named twice", shorten(name)));
            }
        }
        Ok(Self::Columns(indices))
    }

    /// Of a frame without names: its columns are the bundle's, in that order.
    pub(crate) fn unnamed(columns: &[Column]) -> Self {
        if matrix(columns).is_some() { Self::Matrix } else { Self::Columns((0..columns.len()).map(Some).collect()) }
    }
}

/// The error of a frame of so many columns.
pub(crate) fn wrong_width(column: &Column, width: i64, got: usize) -> String {
    format!(
        "expected as many columns as '{}' is wide, which is {width}, or one of that name; got {got} columns",
        column.name
    )
}

/// The only column, where it is a matrix: a list of values a row.
pub(crate) fn matrix(columns: &[Column]) -> Option<&Column> {
    match columns {
        [column] if column.inner_shape().len() == 1 => Some(column),
        _ => None,
    }
}

/// Brings the last values into another order: `order` says for each where it belongs.
pub(crate) fn reorder(builder: &mut Builder, column: &Column, order: &[usize]) {
    if order.iter().enumerate().all(|(at, &index)| at == index) {
        return;
    }
    let count = order.len();
    if let Some(first) = builder.validity.len().checked_sub(count) {
        let old = builder.validity.split_off(first);
        let new = sorted(order, old.iter().copied());
        builder.validity.extend(new);
    }
    if let Some(size) = column.datatype.size() {
        let old = builder.data.split_off(builder.data.len().saturating_sub(count * size));
        builder.data.extend(sorted(order, old.chunks_exact(size)).into_iter().flatten());
        return;
    }
    let first = builder.ends.len().saturating_sub(count + 1);
    let ends = builder.ends.split_off(first);
    let start = ends.first().copied().unwrap_or(0);
    builder.ends.push(start);
    let old = builder.data.split_off(start as usize);
    let texts = ends.windows(2).map(|ends| old.get((ends[0] - start) as usize..(ends[1] - start) as usize));
    for text in sorted(order, texts) {
        builder.data.extend_from_slice(text.unwrap_or_default());
        builder.ends.push(u32::try_from(builder.data.len()).unwrap_or(u32::MAX));
    }
}

fn sorted<T>(order: &[usize], values: impl Iterator<Item = T>) -> Vec<T> {
    let mut placed: Vec<_> = order.iter().copied().zip(values).collect();
    placed.sort_by_key(|(index, _)| *index);
    placed.into_iter().map(|(_, value)| value).collect()
}

#[cfg(test)]
mod tests {
    use modelgate_columns::Datatype;

    use super::*;
    use crate::json::decode::NameIndex;

    #[test]
    fn a_matrix_takes_a_frame_of_its_width() {
        let frame = |columns: &[Column], names: &[&str]| {
            Frame::from_names(names.iter().copied(), Inputs { columns, names: &NameIndex::new(columns) })
        };
        let fixed = [Column::new("x", Datatype::F32, [-1, 3])];
        let open = [Column::new("x", Datatype::F32, [-1, -1])];
        let cube = [Column::new("x", Datatype::F32, [-1, 3, 2])];
        assert_eq!(frame(&fixed, &["a", "b", "c"]), Ok(Frame::Matrix));
        assert_eq!(frame(&open, &["a", "b"]), Ok(Frame::Matrix));
        assert_eq!(frame(&fixed, &["x"]), Ok(Frame::Columns(vec![Some(0)])));
        assert_eq!(frame(&cube, &["a", "b", "c"]), Ok(Frame::Columns(vec![None; 3])));
        assert!(frame(&fixed, &["a", "b"]).is_err_and(|error| error.contains("which is 3")));
        assert!(frame(&fixed, &["x", "x"]).is_err_and(|error| error.contains("twice")));
    }

    #[test]
    fn values_are_put_in_order() {
        let column = Column { nullable: true, ..Column::new("x", Datatype::Bytes, [-1, 3]) };
        let mut builder = Builder::new(&column);
        for text in ["0", "one", "", "22"] {
            builder.push(&column, text.as_bytes());
            builder.ends.push(u32::try_from(builder.data.len()).expect("short"));
        }
        builder.validity[2] = 0;
        reorder(&mut builder, &column, &[2, 0, 1]);
        assert_eq!((builder.data.as_slice(), builder.ends.as_slice()), (&b"022one"[..], &[0, 1, 1, 3, 6][..]));
        assert_eq!(builder.validity, [1, 0, 1, 1]);
        let column = Column::new("x", Datatype::U16, [-1, 2]);
        let mut builder = Builder::new(&column);
        for value in [7u16, 8, 9] {
            builder.push(&column, &value.to_le_bytes());
        }
        reorder(&mut builder, &column, &[1, 0]);
        assert_eq!(builder.data, [7, 0, 9, 0, 8, 0]);
    }
}
