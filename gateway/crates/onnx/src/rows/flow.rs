//! Where the rows are in a value, and the few ways in which operators hand them on.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::{DimLike, Symbol, TDim, TVec, ToDim, TypedFact, tvec};

/// Where the rows are in the outputs of an operator, one flow for all of them or one for each; or what the operator does
/// to rows that lets them meet, as the end of a sentence about it.
pub(crate) type Outcome = Result<TVec<Flow>, String>;

/// Where the rows are in a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Nowhere: the value is the same whatever the rows are and however many.
    Constant,
    /// Nowhere, but the value depends on how many rows there are.
    Count,
    /// Along an axis. The part of a row depends on that row alone.
    Rows(Along),
}

/// The rows' axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Along {
    pub(crate) axis: usize,
    /// The axis may hold more than the rows: its size is `outer × rows × inner`.
    pub(crate) outer: TDim,
    pub(crate) inner: TDim,
    /// The part of each row is a list that ends in this text, repeated up to the length of the longest list of all rows.
    pub(crate) pad: Option<Arc<str>>,
}

impl Flow {
    /// The rows along this axis, which holds nothing else.
    pub(crate) fn along(axis: usize) -> Self {
        Self::Rows(Along { axis, outer: 1.to_dim(), inner: 1.to_dim(), pad: None })
    }

    /// The rows first, as in inputs and outputs.
    pub(crate) fn first_axis() -> Self {
        Self::along(0)
    }

    /// Whether a shape is as the flow says.
    pub(super) fn check(&self, fact: &TypedFact, rows: &Symbol) -> Result<(), String> {
        let mut dims = fact.shape.dims().iter().enumerate();
        let Self::Rows(along) = self else {
            return match dims.find(|(_, dim)| mentions(dim, rows)) {
                Some(_) => Err("gives each row what depends on its place among the rows".into()),
                None => Ok(()),
            };
        };
        let wanted = along.outer.clone() * rows.to_dim() * &along.inner;
        let fits = dims.all(|(axis, dim)| if axis == along.axis { same(dim, &wanted) } else { !mentions(dim, rows) });
        if fits && along.axis < fact.rank() { Ok(()) } else { Err(MIXES.into()) }
    }
}

impl Along {
    /// The same rows along another axis.
    pub(crate) fn on(&self, axis: usize) -> Flow {
        Flow::Rows(Self { axis, ..self.clone() })
    }
}

/// Whether a size depends on the number of rows.
pub(super) fn mentions(dim: &TDim, rows: &Symbol) -> bool {
    dim.as_i64().is_none() && dim.symbols().contains(rows)
}

/// Whether two sizes are the same for any number of rows.
pub(super) fn same(one: &TDim, other: &TDim) -> bool {
    one == other || (one.clone() - other).simplify().as_i64() == Some(0)
}

pub(crate) const MIXES: &str = "mixes rows with another axis";
pub(crate) const MEETS: &str = "combines every row with every other";
pub(crate) const NORMALISES: &str = "normalises over the rows";
pub(crate) const PICKS: &str = "picks among the rows";
pub(crate) const ONE_SCALE: &str = "computes one scale over all rows";
pub(crate) const ONE_BY_ONE: &str = "goes through the rows one after another";
pub(crate) const NUMBERS: &str = "numbers its places over all rows";
const COUNTS: &str = "computes with the number of rows";
const PADDED: &str = "reads lists that are filled up to the longest of all rows";

/// The inputs of one node.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub(crate) flows: &'a [Flow],
    pub(crate) facts: &'a [&'a TypedFact],
    /// The number of rows.
    pub(super) rows: &'a Symbol,
}

impl<'a> Inputs<'a> {
    /// Whether no row takes part.
    pub(super) fn without_rows(&self) -> Option<Outcome> {
        let rows = self.flows.iter().any(|flow| matches!(flow, Flow::Rows(_)));
        let count = self.flows.contains(&Flow::Count);
        (!rows).then(|| Ok(tvec![if count { Flow::Count } else { Flow::Constant }]))
    }

    /// The rows of each input that has some. An error where the number of rows is among the inputs.
    pub(crate) fn with_rows(&self) -> Result<TVec<(usize, &'a Along)>, String> {
        let mut found = tvec![];
        for (slot, flow) in self.flows.iter().enumerate() {
            match flow {
                Flow::Constant => {}
                Flow::Count => return Err(COUNTS.into()),
                Flow::Rows(along) if along.pad.is_some() => return Err(PADDED.into()),
                Flow::Rows(along) => found.push((slot, along)),
            }
        }
        Ok(found)
    }

    /// The rows of the first input, where no other has any. An error if others have.
    pub(crate) fn only_first(&self) -> Result<&'a Along, String> {
        match &*self.with_rows()? {
            [(0, along)] => Ok(along),
            _ => Err(MEETS.into()),
        }
    }

    /// For operators that compute each value from those at its place, broadcast against each other as in numpy.
    pub(crate) fn elementwise(&self) -> Outcome {
        let rank = self.facts.iter().map(|fact| fact.rank()).max().unwrap_or(0);
        let mut found: Option<Flow> = None;
        for (slot, along) in self.with_rows()? {
            // Shapes meet at their ends.
            let flow = along.on(along.axis + rank - self.facts[slot].rank());
            if found.get_or_insert_with(|| flow.clone()) != &flow {
                return Err(MEETS.into());
            }
        }
        Ok(tvec![found.unwrap_or(Flow::Constant)])
    }

    /// For operators of one input with rows that keep its axes in their places and work along some of them; `why` says
    /// what they do to rows along such an axis.
    pub(crate) fn except(&self, mixed: impl Fn(usize) -> bool, why: &str) -> Outcome {
        let along = self.only_first()?;
        if mixed(along.axis) {
            return Err(why.into());
        }
        Ok(tvec![along.on(along.axis)])
    }

    /// For operators of one input with rows that work along its last axis.
    pub(crate) fn before_last(&self) -> Outcome {
        let rank = self.facts.first().map_or(0, |fact| fact.rank());
        self.except(|axis| axis + 1 >= rank, MIXES)
    }

    /// For operators that take matrices, or more, and compute each row of their outputs from the same row of each.
    pub(crate) fn by_row(&self) -> Outcome {
        for (slot, along) in self.with_rows()? {
            // A list is taken for one row.
            if along.axis != 0 || self.facts[slot].rank() < 2 {
                return Err(MIXES.into());
            }
            if along.outer != 1.to_dim() || along.inner != 1.to_dim() {
                return Err(MIXES.into());
            }
        }
        Ok(tvec![Flow::first_axis()])
    }

    /// For operators that make a list of each text of their only input, filled up with `pad` to the longest of all.
    pub(crate) fn listed(&self, pad: &str) -> Outcome {
        let along = self.only_first()?;
        Ok(tvec![Flow::Rows(Along { pad: Some(pad.into()), ..along.clone() })])
    }

    /// As [`by_row`](Self::by_row), for an operator that passes over some texts, as those that fill lists up.
    pub(crate) fn by_list(&self, passes_over: impl Fn(&str) -> bool) -> Outcome {
        match self.flows {
            [Flow::Rows(along)] if along.pad.as_deref().is_some_and(passes_over) => {
                let flows = [Flow::Rows(Along { pad: None, ..along.clone() })];
                Inputs { flows: &flows, ..*self }.by_row()
            }
            _ => self.by_row(),
        }
    }

    /// For operators that hand on each value of their only input, perhaps changed; `pad` tells what becomes of the text
    /// that fills lists up.
    pub(crate) fn handed_on(&self, pad: impl Fn(&str) -> String) -> Outcome {
        match self.flows {
            [Flow::Rows(along)] => {
                let pad = along.pad.as_deref().map(|text| Arc::from(pad(text)));
                Ok(tvec![Flow::Rows(Along { pad, ..along.clone() })])
            }
            _ => self.elementwise(),
        }
    }
}

/// Where the rows are after the axes from `at` on, of sizes `from`, are taken for axes of sizes `to`, the values staying in
/// their order.
pub(super) fn reshaped(along: &Along, at: usize, from: &[TDim], to: &[TDim], rows: &Symbol) -> Result<Flow, String> {
    if along.axis < at {
        return Ok(along.on(along.axis));
    }
    let index = along.axis - at;
    if index >= from.len() {
        return Ok(along.on(along.axis + to.len() - from.len()));
    }
    let product = |dims: &[TDim]| dims.iter().fold(1.to_dim(), |product, dim| product * dim);
    let outer = product(&from[..index]) * &along.outer;
    let inner = product(&from[index + 1..]) * &along.inner;
    // Lists stay as they are only where there is one in each row.
    let lists = product(&from[..index]) == 1.to_dim()
        && from[index + 1..].iter().filter(|dim| !dim.is_one()).count() <= 1
        && to.iter().filter(|dim| !dim.is_one()).count() <= 2;
    if along.pad.is_some() && !lists {
        return Err(PADDED.into());
    }
    let Some(index) = to.iter().position(|dim| mentions(dim, rows)) else { return Err(MIXES.into()) };
    let outer = divided(&outer, &product(&to[..index]));
    let inner = divided(&inner, &product(&to[index + 1..]));
    let (Some(outer), Some(inner)) = (outer, inner) else { return Err(MIXES.into()) };
    Ok(Flow::Rows(Along { axis: at + index, outer, inner, pad: along.pad.clone() }))
}

/// The quotient, if there is no rest.
fn divided(one: &TDim, other: &TDim) -> Option<TDim> {
    if same(one, other) {
        return Some(1.to_dim());
    }
    one.maybe_div(other).ok().and_then(|(quotient, rest)| (rest == 1).then_some(quotient))
}
