//! A batch: packed columns with their number of rows.

use std::sync::Arc;

use crate::{Column, LayoutError, Reader, View};

/// Packed columns of some number of rows; see the crate's documentation for their layout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The number of rows.
    pub rows: u32,
    /// The columns, in the order of the signature they were packed for. Shared, so that a batch that is begun in one place
    /// and handed on to another is not copied.
    pub words: Arc<Vec<u64>>,
}

impl Batch {
    /// Bytes held.
    pub fn size(&self) -> usize {
        self.words.len().saturating_mul(8)
    }

    /// A view of each column. `columns` is the signature it was packed for.
    pub fn views<'a>(&'a self, columns: &[Column]) -> Result<Vec<View<'a>>, LayoutError> {
        let mut reader = Reader::new(self.rows, &self.words);
        let views = columns.iter().map(|column| reader.next(column)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(views)
    }
}
