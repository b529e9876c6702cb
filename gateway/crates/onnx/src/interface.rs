//! The inputs of a graph as its file declares them, and whether they are rows of a table or tensors as they are.

use modelgate_columns::Column;
use tract_onnx::tract_hir::internal::{DatumType, Factoid, InferenceModel, TDim, TVec, ToDim};

use super::columns;
use super::error::ModelError;
use super::failure::engine;

/// The symbol that stands for the rows of a table.
pub(super) const ROWS: &str = "modelgate_rows";

/// An output of a graph, as its file declares it.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) name: String,
    /// Whether it is a single value, without dimensions.
    pub(super) is_scalar: bool,
}

/// The way in which a graph's inputs and outputs are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As tables if the graph can take them, else as tensors.
    #[default]
    Auto,
    /// The first dimension of every input and output is the rows.
    Tables,
    /// Each input and output has the shape that the file declares. There are no rows: a request is one set of tensors.
    Tensors,
}

/// An input of a graph.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) datum: DatumType,
    /// Sizes as the file has them; symbols where they are open.
    pub(super) dims: TVec<TDim>,
}

impl Input {
    /// Its shape for so many rows, in place of the first dimension.
    pub(super) fn with_rows(&self, rows: &TDim) -> TVec<TDim> {
        std::iter::once(rows).chain(self.dims.iter().skip(1)).cloned().collect()
    }

    /// The packed column of an input without rows: the whole tensor is the one row's value.
    pub(super) fn tensor_column(&self) -> Result<Column, ModelError> {
        columns::column("input", &self.name, self.datum, &sizes(&self.dims))
    }

    /// The packed column of an input whose first dimension is the rows.
    pub(super) fn table_column(&self) -> Result<Column, ModelError> {
        columns::column("input", &self.name, self.datum, &sizes(&self.dims[1..]))
    }
}

/// Sizes, -1 where they are open.
pub(super) fn sizes(dims: &[TDim]) -> Vec<i64> {
    dims.iter().map(|dim| dim.to_i64().unwrap_or(-1)).collect()
}

/// The graph's inputs, in its order.
pub(super) fn inputs(model: &InferenceModel) -> Result<Vec<Input>, ModelError> {
    let mut inputs = Vec::new();
    for (index, outlet) in model.inputs.iter().enumerate() {
        let name = &model.nodes[outlet.node].name;
        let refuse = |problem: &str| ModelError::Column { side: "input", name: name.clone(), problem: problem.into() };
        let fact = model.input_fact(index).map_err(engine)?;
        let datum = fact.datum_type.concretize().ok_or_else(|| refuse("its type is not given"))?;
        if !fact.shape.rank().is_concrete() {
            return Err(refuse("its number of dimensions is not given"));
        }
        let dims: TVec<TDim> = fact
            .shape
            .dims()
            .map(|dim| dim.concretize().unwrap_or_else(|| model.symbols.new_with_prefix("modelgate_dim").to_dim()))
            .collect();
        inputs.push(Input { name: name.clone(), datum, dims });
    }
    if inputs.is_empty() {
        return Err(ModelError::Engine("it has no inputs".into()));
    }
    Ok(inputs)
}

/// Why the inputs cannot be a table's columns; nothing if they can.
///
/// A first dimension of 1 stands for rows: converters that are given no batch write it. Any other size is what the file
/// says, and an open size that another input has in a later place (`[layers, batch, n]` beside `[batch, m]`) is not the
/// rows of one and something else of the other.
pub(super) fn no_table(inputs: &[Input]) -> Option<ModelError> {
    inputs.iter().find_map(|input| {
        let refuse = |problem: String| Some(ModelError::Column { side: "input", name: input.name.clone(), problem });
        let Some(first) = input.dims.first() else {
            return refuse("it is a single value, without a dimension for the rows".into());
        };
        match first.to_i64() {
            Ok(1) => None,
            Ok(size) => refuse(format!("its first dimension is {size}, not the rows")),
            Err(_) => {
                let other = inputs.iter().find(|other| other.dims.iter().skip(1).any(|dim| dim == first))?;
                refuse(format!("its first dimension is a later one of '{}', so it is not the rows", other.name))
            }
        }
    })
}

/// Whether the file has 1 in the first place of every input, so that it is meant for one row at a time.
pub(super) fn is_one_row(inputs: &[Input]) -> bool {
    inputs.iter().all(|input| input.dims.first().is_some_and(|first| first.to_i64().is_ok_and(|size| size == 1)))
}
