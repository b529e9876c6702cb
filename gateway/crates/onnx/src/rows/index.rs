//! The flow of rows through operators that pick values by index.

use tract_onnx::tract_hir::internal::tvec;

use super::flow::{Inputs, MEETS, Outcome, PICKS};

impl Inputs<'_> {
    /// All inputs alike, one axis aside, along which the operator works; `why` says what it does to rows there.
    pub(crate) fn aligned(&self, axis: usize, why: &str) -> Outcome {
        if self.with_rows()?.iter().any(|(_, along)| along.axis == axis) {
            return Err(why.into());
        }
        self.elementwise()
    }

    /// The rows of the first input on another axis.
    pub(crate) fn shifted(&self, to: impl Fn(usize) -> usize) -> Outcome {
        let along = self.only_first()?;
        Ok(tvec![along.on(to(along.axis))])
    }

    /// Slices of an axis of the first input by the indices of the second, whose axes take its place.
    pub(crate) fn gathered(&self, axis: usize) -> Outcome {
        let [_, indices] = self.facts else { return Err(MEETS.into()) };
        let flow = match &*self.with_rows()? {
            [(0, data)] if data.axis == axis => return Err(PICKS.into()),
            [(0, data)] if data.axis < axis => data.on(data.axis),
            [(0, data)] => data.on(data.axis + indices.rank() - 1),
            [(1, indices)] => indices.on(axis + indices.axis),
            _ => return Err(MEETS.into()),
        };
        Ok(tvec![flow])
    }

    /// Slices by lists of indices, one for each row, of data that all share or that begins with the same rows.
    pub(crate) fn gathered_by_list(&self, batch: usize) -> Outcome {
        let [_, indices] = self.facts else { return Err(MEETS.into()) };
        match &*self.with_rows()? {
            [(1, along)] if along.axis + 1 < indices.rank() => Ok(tvec![along.on(along.axis)]),
            [(0, data), (1, along)] if data == along && along.axis < batch => Ok(tvec![along.on(along.axis)]),
            _ => Err(PICKS.into()),
        }
    }
}
