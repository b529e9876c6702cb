//! `If`: one of two graphs.
//!
//! Converters write it for what `PyTorch` decides from shapes: whether to squeeze a dimension, which rate a sound has. The
//! branch that is not taken then often contradicts the shapes that are known, so nothing of it may be looked at. Here a
//! condition is waited for as long as the analysis goes on, and a branch is only analysed where it may be taken.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use tract_onnx::model::{ParseResult, ParsingContext};
use tract_onnx::pb::{GraphProto, NodeProto};
use tract_onnx::tract_hir::internal::*;

use super::super::failure::brief;
use super::super::footprint::run_inner;
use super::super::guard::guarded;
use super::super::plan::{RunnablePlan, optimized};
use super::kernel::{Built, Operator};

pub(super) const OPERATOR: Operator =
    Operator { domain: "", name: "If", attributes: &["then_branch", "else_branch"], build };

/// The node before types and shapes are known.
#[derive(Clone, Debug)]
struct If {
    then: Branch,
    otherwise: Branch,
    /// Whether the condition is unknown when all else is known, so that either branch may be taken.
    open: bool,
    /// Whether a branch may be broken, since all sizes are known: no plan for other sizes has to run it.
    lenient: bool,
}

/// A graph, and which of the node's inputs each of its own is.
#[derive(Clone, Debug)]
struct Branch {
    body: InferenceModel,
    inputs: Vec<usize>,
    /// Why the graph cannot run with the shapes that are known: taking it is an error, but it may never be taken.
    broken: Option<String>,
}

fn build(context: &ParsingContext<'_>, node: &NodeProto) -> Built {
    let parse = |name: &str| -> TractResult<ParseResult> { context.parse_graph(node.get_attr(name)?) };
    let (then, otherwise) = (parse("then_branch")?, parse("else_branch")?);
    let (given, needed) = (then.model.outputs.len(), node.output.len());
    ensure!(given == otherwise.model.outputs.len() && given == needed, "its branches give other outputs than it does");
    // What the branches take from around them are inputs of the node, behind the condition.
    let mut names: Vec<String> = then.unresolved_inputs.iter().chain(&otherwise.unresolved_inputs).cloned().collect();
    names.sort();
    names.dedup();
    let branch = |parsed: ParseResult| {
        let index = |name: &String| names.iter().position(|other| other == name).map_or(0, |index| index + 1);
        let inputs = parsed.unresolved_inputs.iter().map(index).collect();
        Branch { inputs, body: parsed.model, broken: None }
    };
    let op = If { then: branch(then), otherwise: branch(otherwise), open: is_in_loop(context), lenient: false };
    Ok((Box::new(op), names))
}

/// Whether the node is in the body of something other than an `If`: [`settle_branches`] does not come there.
fn is_in_loop(context: &ParsingContext<'_>) -> bool {
    let graphs = context.parent_graphs.windows(2);
    let is_branch = |graphs: &[&GraphProto]| {
        let nodes = graphs[0].node.iter().filter(|node| node.op_type == "If");
        let mut bodies = nodes.flat_map(|node| &node.attribute).filter_map(|attribute| attribute.g.as_ref());
        bodies.any(|body| std::ptr::eq(body, graphs[1]))
    };
    !graphs.into_iter().all(is_branch)
}

impl Branch {
    /// The facts known of the node's inputs and outputs, and those that this branch adds.
    fn infer(&mut self, inputs: &mut [InferenceFact], outputs: &mut [InferenceFact]) -> TractResult<bool> {
        let mut changed = false;
        for (index, &outer) in self.inputs.iter().enumerate() {
            changed |= self.body.input_fact_mut(index)?.unify_with_mut(&mut inputs[outer])?;
        }
        for (index, output) in outputs.iter_mut().enumerate() {
            changed |= self.body.output_fact_mut(index)?.unify_with_mut(output)?;
        }
        Ok(self.body.analyse(false)? || changed)
    }

    /// The same where the other branch may be taken as well: what holds in one need not hold around it. What contradicts
    /// itself breaks the branch.
    fn infer_alone(&mut self, inputs: &[InferenceFact]) -> bool {
        if self.broken.is_some() {
            return false;
        }
        let changed = guarded(|| {
            let mut changed = false;
            for (index, &outer) in self.inputs.iter().enumerate() {
                changed |= self.body.input_fact_mut(index)?.unify_with(&inputs[outer])?;
            }
            Ok(self.body.analyse(false)? || changed)
        });
        changed.unwrap_or_else(|error| {
            self.broken = Some(brief(&error));
            true
        })
    }

    fn report(&self, outputs: &mut [InferenceFact]) -> TractResult<bool> {
        let mut changed = false;
        for (index, output) in outputs.iter_mut().enumerate() {
            let fact = self.body.output_fact(index)?;
            changed |= output.datum_type.unify_with(&fact.datum_type)?;
            changed |= output.shape.unify_with(&fact.shape)?;
        }
        Ok(changed)
    }

    /// The nodes that run where this branch is taken.
    fn typed(&self) -> Taken {
        match &self.broken {
            Some(problem) => Taken::Broken(problem.clone()),
            None => match guarded(|| self.body.clone().into_typed()) {
                Ok(body) => Taken::Graph(body, self.inputs.clone()),
                Err(error) => Taken::Broken(brief(&error)),
            },
        }
    }
}

impl If {
    fn infer_both(&mut self, inputs: &[InferenceFact], outputs: &mut [InferenceFact]) -> TractResult<bool> {
        let mut changed = self.then.infer_alone(inputs);
        changed |= self.otherwise.infer_alone(inputs);
        match (&self.then.broken, &self.otherwise.broken) {
            (Some(problem), Some(_)) => bail!("neither of its branches can run: {problem}"),
            (Some(problem), None) | (None, Some(problem)) if !self.lenient => {
                bail!("one of its branches cannot run: {problem}")
            }
            (None, Some(_)) => changed |= self.then.report(outputs)?,
            (Some(_), None) => changed |= self.otherwise.report(outputs)?,
            (None, None) => {
                changed |= self.then.report(outputs)?;
                changed |= self.otherwise.report(outputs)?;
            }
        }
        Ok(changed)
    }

    fn taken(&mut self, condition: &InferenceFact) -> TractResult<Option<&mut Branch>> {
        let Some(condition) = condition.value.concretize() else { return Ok(None) };
        Ok(Some(if condition.cast_to_scalar::<bool>()? { &mut self.then } else { &mut self.otherwise }))
    }
}

impl Op for If {
    fn name(&self) -> StaticName {
        "If".into()
    }

    not_a_typed_op!();
}

impl PartialEq for If {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Eq for If {}

impl EvalOp for If {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let condition = inputs[0].cast_to_scalar::<bool>()?;
        let branch = if condition { &self.then } else { &self.otherwise };
        let values: TVec<TValue> = branch.inputs.iter().map(|&outer| inputs[outer].clone()).collect();
        let mut body = branch.body.clone();
        for (index, value) in values.iter().enumerate() {
            body.set_input_fact(index, InferenceFact::dt_shape(value.datum_type(), value.shape()))?;
        }
        while settle_branches(&mut body, true)? {
            body.analyse(false)?;
        }
        body.into_typed()?.into_runnable()?.run(values)
    }
}

impl InferenceOp for If {
    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(TVec<InferenceFact>, TVec<InferenceFact>, TVec<InferenceFact>)> {
        let mut inputs: TVec<InferenceFact> = inputs.into_iter().cloned().collect();
        let mut outputs: TVec<InferenceFact> = outputs.into_iter().cloned().collect();
        inputs[0].datum_type.unify_with(&bool::datum_type().into())?;
        let condition = inputs[0].clone();
        loop {
            let open = self.open;
            let changed = if let Some(taken) = self.taken(&condition)? {
                taken.infer(&mut inputs, &mut outputs)?
            } else if open {
                self.infer_both(&inputs, &mut outputs)?
            } else {
                false
            };
            if !changed {
                return Ok((inputs, outputs, observed.into_iter().cloned().collect()));
            }
        }
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.then.body.outputs.len())
    }

    fn to_typed(
        &self,
        source: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        let inputs: TVec<OutletId> = node.inputs.iter().map(|outlet| mapping[outlet]).collect();
        let condition = source.outlet_fact(node.inputs[0])?;
        if let Some(taken) = self.clone().taken(condition)? {
            let body = std::mem::take(&mut taken.body).into_typed()?;
            let outer: TVec<OutletId> = taken.inputs.iter().map(|&outer| inputs[outer]).collect();
            return inline(&node.name, &body, &outer, target);
        }
        let choice = Choice { branches: [self.otherwise.typed(), self.then.typed()], plans: Arc::default() };
        target.wire_node(&node.name, choice, &inputs)
    }

    as_op!();
}

/// Puts the nodes of a graph into another.
fn inline(
    prefix: &str,
    body: &TypedModel,
    inputs: &[OutletId],
    target: &mut TypedModel,
) -> TractResult<TVec<OutletId>> {
    let mut mapping: HashMap<OutletId, OutletId> = body.inputs.iter().copied().zip(inputs.iter().copied()).collect();
    for id in body.eval_order()? {
        let node = body.node(id);
        if mapping.contains_key(&OutletId::new(id, 0)) {
            continue;
        }
        let inputs: TVec<OutletId> = node.inputs.iter().map(|outlet| mapping[outlet]).collect();
        let outputs = target.wire_node(format!("{prefix}.{}", node.name), node.op.clone(), &inputs)?;
        mapping.extend(outputs.iter().enumerate().map(|(slot, &outlet)| (OutletId::new(id, slot), outlet)));
    }
    Ok(body.outputs.iter().map(|outlet| mapping[outlet]).collect())
}

/// Lets conditions that an analysis has left unknown be open, each in its turn: what lies behind one may make the next one
/// known. `lenient` tells that all sizes are known. Gives whether there were any, so that the analysis has to go on.
pub(in super::super) fn settle_branches(model: &mut InferenceModel, lenient: bool) -> TractResult<bool> {
    let mut settled = false;
    for id in 0..model.nodes.len() {
        if !model.nodes[id].op_is::<If>() {
            continue;
        }
        let condition = model.outlet_fact(model.nodes[id].inputs[0])?.clone();
        let Some(op) = model.nodes[id].op_as_mut::<If>() else { continue };
        settled |= if let Some(taken) = op.taken(&condition)? {
            settle_branches(&mut taken.body, lenient)?
        } else if op.open {
            let mut settled = false;
            for branch in [&mut op.then, &mut op.otherwise] {
                settled |= branch.broken.is_none() && settle_branches(&mut branch.body, lenient)?;
            }
            settled
        } else {
            (op.open, op.lenient) = (true, lenient);
            true
        };
    }
    Ok(settled)
}

/// A branch with all types and shapes.
#[derive(Clone, Debug)]
enum Taken {
    /// The graph, and which of the node's inputs each of its inputs is.
    Graph(TypedModel, Vec<usize>),
    /// Why there is none.
    Broken(String),
}

/// Two graphs, one of which runs; the condition is the first input.
#[derive(Clone, Debug)]
struct Choice {
    /// For a false condition, and for a true one.
    branches: [Taken; 2],
    /// Made when they are first taken.
    plans: Arc<[OnceLock<RunnablePlan>; 2]>,
}

impl PartialEq for Choice {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Eq for Choice {}

impl Op for Choice {
    fn name(&self) -> StaticName {
        "If".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Choice {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let which = usize::from(inputs[0].cast_to_scalar::<bool>()?);
        let (body, outer) = match &self.branches[which] {
            Taken::Graph(body, outer) => (body, outer),
            Taken::Broken(problem) => bail!("the branch that is taken cannot run: {problem}"),
        };
        let plan = match self.plans[which].get() {
            Some(plan) => plan,
            None => {
                let plan = TypedSimplePlan::new(optimized(body.clone())?)?;
                self.plans[which].get_or_init(|| plan)
            }
        };
        run_inner(plan, outer.iter().map(|&outer| inputs[outer].clone()).collect())
    }
}

impl TypedOp for Choice {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(inputs[0].datum_type == bool::datum_type() && inputs[0].shape.volume() == 1.to_dim());
        let (then, otherwise) = match &self.branches {
            [Taken::Graph(otherwise, _), Taken::Graph(then, _)] => (then, otherwise),
            [Taken::Graph(only, _), _] | [_, Taken::Graph(only, _)] => (only, only),
            [Taken::Broken(problem), _] => bail!("neither of its branches can run: {problem}"),
        };
        (0..then.outputs.len())
            .map(|index| {
                let (then, otherwise) = (then.output_fact(index)?, otherwise.output_fact(index)?);
                let same = then.datum_type == otherwise.datum_type && then.shape == otherwise.shape;
                ensure!(same, "its branches give {:?} and {:?}", then.without_value(), otherwise.without_value());
                Ok(then.without_value())
            })
            .collect()
    }

    fn declutter(&self, model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
        let Some(condition) = &model.outlet_fact(node.inputs[0])?.konst else { return Ok(None) };
        let taken = &self.branches[usize::from(condition.cast_to_scalar::<bool>()?)];
        let Taken::Graph(body, outer) = taken else { return Ok(None) };
        let mut patch = TypedModelPatch::default();
        let taps = outer.iter().map(|&outer| patch.tap_model(model, node.inputs[outer]));
        let taps = taps.collect::<TractResult<TVec<_>>>()?;
        let outputs = inline(&node.name, body, &taps, &mut patch.model)?;
        for (slot, &output) in outputs.iter().enumerate() {
            patch.shunt_outside(model, OutletId::new(node.id, slot), output)?;
        }
        Ok(Some(patch))
    }

    as_op!();
}
