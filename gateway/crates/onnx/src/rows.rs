//! Whether each row's answer depends on that row alone, read off the typed graph.
//!
//! In the plan for any number of rows, the sizes of values are expressions of a symbol that stands for the number of rows.
//! The analysis follows the rows' axis from the inputs to the outputs, node by node. A node keeps rows apart if each part
//! of its outputs is computed from the same row of its inputs; [`table`] says so of tract's operators, and our own say so
//! themselves. A node that lets rows meet, or that the table does not know, makes the model dependent.
//!
//! The verdict is about what is computed, not about the order of a sum: kernels that sum in another order where there are
//! more rows are found by trial.

mod flow;
mod index;
mod table;
#[cfg(test)]
mod tests;

use tract_onnx::tract_hir::internal::tract_core::ops::konst::Const;
use tract_onnx::tract_hir::internal::tract_core::ops::scan::{InputMapping, Scan};
use tract_onnx::tract_hir::internal::{
    Datum, OutletId, Symbol, TDim, TVec, Tensor, TractResult, TypedFact, TypedModel, TypedNode, tvec,
};

pub(crate) use self::flow::{
    Along, Flow, Inputs, MEETS, MIXES, NORMALISES, NUMBERS, ONE_BY_ONE, ONE_SCALE, Outcome, PICKS,
};

/// Whether a row's answer may depend on the rows beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowDependence {
    /// Each row of the outputs is computed from the same row of the inputs.
    Independent,
    /// A row's answer may depend on the rows beside it.
    Dependent {
        /// The operator, its node, and what it does: one sentence without a full stop.
        reason: String,
    },
}

impl RowDependence {
    /// Why rows depend on each other; `None` if they do not.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Independent => None,
            Self::Dependent { reason } => Some(reason),
        }
    }
}

/// The verdict on a typed graph before it is lowered to kernels, in which `rows` stands for the number of rows.
pub(super) fn dependence(model: &TypedModel, rows: &Symbol) -> RowDependence {
    match (Analysis { rows }).run(model) {
        Ok(()) => RowDependence::Independent,
        Err(reason) => RowDependence::Dependent { reason },
    }
}

/// Flows, or a whole reason.
type Found<T> = Result<T, String>;

struct Analysis<'a> {
    rows: &'a Symbol,
}

impl Analysis<'_> {
    fn run(&self, model: &TypedModel) -> Found<()> {
        let inputs = model.inputs.iter().map(|&input| {
            let fact = model.outlet_fact(input).map_err(|error| error.to_string())?;
            let by_row = fact.shape.dims().first() == Some(&self.rows.clone().into());
            Ok(if by_row { Flow::first_axis() } else { Flow::Constant })
        });
        let inputs = inputs.collect::<Found<Vec<_>>>()?;
        let outputs = self.outputs(model, &inputs)?;
        for (flow, outlet) in outputs.iter().zip(&model.outputs) {
            if *flow != Flow::first_axis() {
                let name = name(model, *outlet);
                return Err(format!("output '{name}' does not have one part for each row, in their order"));
            }
        }
        Ok(())
    }

    /// Where the rows are in the outputs of a model, given where they are in its inputs.
    fn outputs(&self, model: &TypedModel, inputs: &[Flow]) -> Found<Vec<Flow>> {
        let mut flows: Vec<TVec<Flow>> = vec![tvec![]; model.nodes.len()];
        for (&outlet, flow) in model.inputs.iter().zip(inputs) {
            flows[outlet.node] = tvec![flow.clone()];
        }
        for id in model.eval_order().map_err(|error| error.to_string())? {
            let node = model.node(id);
            if flows[id].is_empty() {
                let through = self.through(model, node, &flows).and_then(|found| self.checked(found, node));
                flows[id] =
                    through.map_err(|why| format!("'{}' (node {}) {why}", operator(&node.op.name()), node.name))?;
            }
        }
        Ok(model.outputs.iter().map(|outlet| flows[outlet.node][outlet.slot].clone()).collect())
    }

    /// Where the rows are in the outputs of a node.
    fn through(&self, model: &TypedModel, node: &TypedNode, flows: &[TVec<Flow>]) -> Outcome {
        if let Some(constant) = node.op_as::<Const>() {
            return Ok(tvec![self.constant(constant.val())]);
        }
        if let Some(value) = node.outputs.first().and_then(|output| output.fact.konst.as_ref()) {
            return Ok(tvec![self.constant(value)]);
        }
        let facts: TractResult<TVec<&TypedFact>> = node.inputs.iter().map(|&input| model.outlet_fact(input)).collect();
        let facts = facts.map_err(|error| error.to_string())?;
        let flows: TVec<Flow> = node.inputs.iter().map(|input| flows[input.node][input.slot].clone()).collect();
        let inputs = Inputs { flows: &flows, facts: &facts, rows: self.rows };
        if let Some(scan) = node.op_as::<Scan>() {
            return self.scan(scan, &inputs);
        }
        let mut found = table::through(node, &inputs)?;
        // One flow stands for all outputs.
        if let [one] = &*found {
            let one = one.clone();
            found.resize(node.outputs.len(), one);
        }
        if found.len() == node.outputs.len() { Ok(found) } else { Err("is not known to keep rows apart".into()) }
    }

    /// A constant; sizes that are expressions of the number of rows may be among them.
    fn constant(&self, value: &Tensor) -> Flow {
        let sizes = value.try_as_plain_ram().ok().and_then(|value| value.as_slice::<TDim>().ok());
        let counts = value.datum_type() == TDim::datum_type()
            && sizes.is_none_or(|sizes| sizes.iter().any(|size| flow::mentions(size, self.rows)));
        if counts { Flow::Count } else { Flow::Constant }
    }

    /// Holds the shapes of a node's outputs against what was found about them.
    fn checked(&self, found: TVec<Flow>, node: &TypedNode) -> Outcome {
        for (flow, output) in found.iter().zip(&node.outputs) {
            flow.check(&output.fact, self.rows)?;
        }
        Ok(found)
    }

    /// A loop whose body keeps rows apart, over an axis that is not the rows'.
    fn scan(&self, scan: &Scan, inputs: &Inputs<'_>) -> Outcome {
        let mut states = Vec::new();
        for (mapping, flow) in scan.input_mapping.iter().zip(inputs.flows) {
            match (mapping, flow) {
                (InputMapping::Scan(info), Flow::Rows(along)) if along.axis == info.axis => {
                    return Err(ONE_BY_ONE.into());
                }
                (InputMapping::State, flow) => states.push(flow),
                _ => {}
            }
        }
        let bodies = self.outputs(&scan.body, inputs.flows)?;
        let mut before = states.into_iter();
        let count = scan
            .output_mapping
            .iter()
            .flat_map(|output| output.scan.iter().map(|(slot, _)| *slot).chain(output.last_value_slot));
        let mut found: TVec<Flow> = tvec![Flow::Constant; count.max().map_or(0, |last| last + 1)];
        for (mapping, flow) in scan.output_mapping.iter().zip(bodies) {
            if mapping.state && before.next() != Some(&flow) {
                return Err("keeps a state that is not one for each row".into());
            }
            if let Some((slot, info)) = mapping.scan {
                if matches!(&flow, Flow::Rows(along) if along.axis == info.axis) {
                    return Err(ONE_BY_ONE.into());
                }
                found[slot] = flow.clone();
            }
            if let Some(slot) = mapping.last_value_slot {
                found[slot] = flow;
            }
        }
        Ok(found)
    }
}

/// An operator's name as the standard has it, where tract's own is another.
fn operator(name: &str) -> String {
    match name {
        "DynamicQuantizeLinearU8" => "DynamicQuantizeLinear".to_owned(),
        "EinSum" => "Einsum".to_owned(),
        "Topk" => "TopK".to_owned(),
        name => name.replace("Reduce<", "Reduce").replace('>', ""),
    }
}

/// The name of an outlet.
fn name(model: &TypedModel, outlet: OutletId) -> String {
    model.outlet_label(outlet).map_or_else(|| model.node(outlet.node).name.clone(), ToOwned::to_owned)
}
