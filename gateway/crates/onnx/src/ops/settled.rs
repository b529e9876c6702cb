//! Operators of ours whose results' types and shapes follow from the values of some inputs: the amounts of a `Pad`, the
//! depth of a `OneHot`. They are made when these values are known, which is while the model loads.

use std::sync::Arc;

use tract_onnx::model::{optional_inputs, optional_outputs};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Built, Kernel, KernelOp, Spec, wire_kernel};

/// The builder of an operator once values are known.
pub(super) trait Settle: std::fmt::Debug + Send + Sync + 'static {
    /// As in the standard.
    fn name(&self) -> &'static str;

    /// The standard's inputs that have to be known. The kernel takes the others, without those that are left out.
    fn needs(&self) -> &'static [usize];

    /// The operator for these inputs of the standard's; those that it needs have a value.
    fn settle(&self, inputs: &[Option<Argument>]) -> TractResult<Arc<dyn Kernel>>;
}

/// An input that a node has.
#[derive(Clone, Debug)]
pub(super) struct Argument {
    pub(super) spec: Spec,
    /// If it is needed.
    pub(super) value: Option<Arc<Tensor>>,
}

impl Argument {
    /// Its values as whole numbers.
    pub(super) fn longs(&self) -> TractResult<Vec<i64>> {
        let value = self.value.as_ref().context("a value is not known")?;
        Ok(super::values::values::<i64>(value)?.into_owned())
    }

    /// Its values as singles.
    pub(super) fn singles(&self) -> TractResult<Vec<f32>> {
        let value = self.value.as_ref().context("a value is not known")?;
        Ok(super::values::values::<f32>(value)?.into_owned())
    }
}

/// An argument that has to be there.
pub(super) fn required(inputs: &[Option<Argument>], index: usize) -> TractResult<&Argument> {
    inputs.get(index).and_then(Option::as_ref).with_context(|| format!("input {index} is missing"))
}

/// An argument that may be left out.
pub(super) fn optional(inputs: &[Option<Argument>], index: usize) -> Option<&Argument> {
    inputs.get(index).and_then(Option::as_ref)
}

/// Wraps it for tract.
#[expect(clippy::unnecessary_wraps, reason = "the type of a builder")]
pub(super) fn settled(node: &NodeProto, operator: Arc<dyn Settle>) -> Built {
    let slots = optional_inputs(node).take(node.input.len()).collect();
    let kept = optional_outputs(node).take(node.output.len()).enumerate();
    let kept = kept.filter_map(|(index, wanted)| wanted.map(|_| index)).collect();
    Ok((expand(Unsettled { operator, slots, kept }), vec![]))
}

/// The node before the values are known.
#[derive(Clone, Debug)]
struct Unsettled {
    operator: Arc<dyn Settle>,
    /// Where among the node's inputs each of the standard's is.
    slots: TVec<Option<usize>>,
    /// The indices of its outputs that the graph uses.
    kept: TVec<usize>,
}

impl Unsettled {
    /// The places among the node's inputs whose values are needed, and the others.
    fn indices(&self) -> (TVec<usize>, TVec<usize>) {
        let needs = self.operator.needs();
        let needed: TVec<_> = needs.iter().filter_map(|&index| self.slots.get(index).copied().flatten()).collect();
        let others = self.slots.iter().flatten().copied().filter(|index| !needed.contains(index)).collect();
        (needed, others)
    }

    fn settle(&self, specs: &[Spec], value: impl Fn(usize) -> Option<Arc<Tensor>>) -> TractResult<KernelOp> {
        let argument = |slot: &Option<usize>| {
            let slot = (*slot)?;
            Some(Argument { spec: specs.get(slot)?.clone(), value: value(slot) })
        };
        let arguments: Vec<_> = self.slots.iter().map(argument).collect();
        let kernel = self.operator.settle(&arguments).with_context(|| self.operator.name().to_owned())?;
        Ok(KernelOp::with_outputs(kernel, self.kept.clone()))
    }
}

impl Expansion for Unsettled {
    fn name(&self) -> StaticName {
        self.operator.name().into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.kept.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        let (needed, others) = self.indices();
        s.given_all(inputs.iter().map(|input| &input.datum_type), move |s, types| {
            let (needed, others) = (needed.clone(), others.clone());
            s.given_all(inputs.iter().map(|input| &input.shape), move |s, shapes| {
                let specs = types.iter().zip(shapes).map(|(&datum, shape)| Spec { datum, shape });
                let specs: TVec<Spec> = specs.collect();
                let (needed, others) = (needed.clone(), others.clone());
                let conclude = move |s: &mut Solver<'r>, values: Vec<Arc<Tensor>>| {
                    let value = |slot| needed.iter().position(|&index| index == slot).map(|at| Arc::clone(&values[at]));
                    let op = self.settle(&specs, value)?;
                    let taken: TVec<Spec> = others.iter().map(|&index| specs[index].clone()).collect();
                    for (output, spec) in outputs.iter().zip(op.outputs(&taken)?) {
                        s.equals(&output.datum_type, spec.datum)?;
                        s.equals(&output.shape, spec.shape)?;
                    }
                    Ok(())
                };
                let (needed, _) = self.indices();
                if needed.is_empty() {
                    return conclude(s, vec![]);
                }
                s.given_all(needed.iter().map(|&index| &inputs[index].value), conclude)
            })
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let facts = inputs.iter().map(|&input| model.outlet_fact(input).cloned()).collect::<TractResult<Vec<_>>>()?;
        let specs: TVec<_> =
            facts.iter().map(|fact| Spec { datum: fact.datum_type, shape: fact.shape.to_tvec() }).collect();
        let (needed, others) = self.indices();
        for &index in &needed {
            ensure!(facts[index].konst.is_some(), "{}: input {index} has to be constant", self.operator.name());
        }
        let op = self.settle(&specs, |slot| facts[slot].konst.clone().filter(|_| needed.contains(&slot)))?;
        let taken: TVec<_> = others.iter().map(|&index| inputs[index]).collect();
        wire_kernel(op, prefix, model, &taken)
    }
}
