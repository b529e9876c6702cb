//! Values of a caller's that an operator cannot take: an index beyond the end of a table, a text that is no number.

use std::collections::BTreeSet;
use std::fmt;

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::tract_core::ops::source::TypedSource;

/// An operator's error about a value in one of its inputs. Carried by tract's error up to the session, which tells the
/// caller.
#[derive(Clone, Debug)]
pub(crate) struct InvalidValue {
    /// The index of the operator's input that has it.
    input: usize,
    /// Where it lies in that input, in row-major order; `None` if it is not one value.
    position: Option<usize>,
    message: String,
    /// The graph's input that the operator's input is computed from.
    pub(crate) column: Option<String>,
    /// The row of the value, and how many there are, counted along the input's first axis.
    pub(crate) row: Option<(usize, usize)>,
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for InvalidValue {}

/// The error of an operator that cannot take the value at `position` of its input number `input`.
pub(super) fn invalid(input: usize, position: Option<usize>, message: String) -> TractError {
    InvalidValue { input, position, message, column: None, row: None }.into()
}

impl InvalidValue {
    /// Adds where the value came from: `columns` has the graph's input behind each of the operator's inputs.
    pub(super) fn located(mut self, columns: &[Option<String>], inputs: &[TValue]) -> Self {
        self.column = columns.get(self.input).cloned().flatten();
        if let (Some(position), Some(tensor)) = (self.position, inputs.get(self.input))
            && let Some(&rows) = tensor.shape().first()
        {
            self.row = Some((position / (tensor.len() / rows.max(1)).max(1), rows));
        }
        self
    }
}

/// Nodes that are visited in search of the graph's inputs behind a value; beyond that no column is named.
const VISITED: usize = 1000;

/// The one input of the graph that a value is computed from; `None` if there are several or none.
pub(super) fn column_of(model: &TypedModel, outlet: OutletId) -> Option<String> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![outlet.node]);
    let mut found = None;
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        if seen.len() > VISITED {
            return None;
        }
        let node = model.nodes.get(id)?;
        if node.op_is::<TypedSource>() && found.replace(node.name.clone()).is_some() {
            return None;
        }
        open.extend(node.inputs.iter().map(|input| input.node));
    }
    found
}
