//! What our operators have in common. To tract, each is one node before types are known and one after; here it is two
//! functions: from the types and shapes of the inputs to those of the outputs, and from tensors to tensors.

use std::fmt;
use std::sync::Arc;

use tract_onnx::model::{ParsingContext, optional_outputs};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// The type and shape of an input or output.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spec {
    /// The type of each value. Whole numbers may come as dimensions, with which tract computes where shapes are meant.
    pub(super) datum: DatumType,
    /// Sizes, some of them symbols.
    pub(super) shape: TVec<TDim>,
}

impl Spec {
    /// Values of type `T` in this shape.
    pub(super) fn of<T: Datum>(shape: impl IntoIterator<Item = TDim>) -> Self {
        Self { datum: T::datum_type(), shape: shape.into_iter().collect() }
    }

    /// Rows and columns; a list is one row.
    pub(super) fn matrix(&self) -> TractResult<(TDim, TDim)> {
        match &*self.shape {
            [columns] => Ok((1.to_dim(), columns.clone())),
            [rows, columns] => Ok((rows.clone(), columns.clone())),
            shape => bail!("expected a matrix, got the shape {shape:?}"),
        }
    }
}

/// Rows and columns of a tensor; a list is one row.
pub(super) fn matrix(tensor: &Tensor) -> TractResult<(usize, usize)> {
    match *tensor.shape() {
        [columns] => Ok((1, columns)),
        [rows, columns] => Ok((rows, columns)),
        ref shape => bail!("expected a matrix, got the shape {shape:?}"),
    }
}

/// An operator. What it holds was checked when it was built from the file; tensors may still hold any value.
pub(super) trait Kernel: fmt::Debug + Send + Sync + 'static {
    /// As in the standard.
    fn name(&self) -> &'static str;

    /// The types and shapes it gives, or what is wrong with those it gets.
    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>>;

    /// Computes.
    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>>;

    /// Another that does the same for inputs of these types and shapes, made once for each plan.
    fn specialise(&self, _inputs: &[Spec]) -> TractResult<Option<Arc<dyn Kernel>>> {
        Ok(None)
    }

    /// Bytes held.
    fn bytes(&self) -> usize {
        0
    }
}

/// What a builder gives to tract.
pub(super) type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// An operator's entry in the registry.
#[derive(Clone, Copy)]
pub(super) struct Operator {
    /// The domain it is of; empty for `ai.onnx`.
    pub(super) domain: &'static str,
    /// Its name in the standard.
    pub(super) name: &'static str,
    /// Every attribute it knows. A node with another one is refused.
    pub(super) attributes: &'static [&'static str],
    /// Makes it from its node, without kernel where tract has what it takes.
    pub(super) build: fn(&ParsingContext<'_>, &NodeProto) -> Built,
}

/// Domain of the operators for classical machine learning.
pub(super) const ML: &str = "ai.onnx.ml";

/// Domain of what we make of several nodes. No file may use it.
pub(in super::super) const OWN: &str = "modelgate";

/// Wraps a kernel for tract.
#[expect(clippy::unnecessary_wraps, reason = "the type of a builder")]
pub(super) fn built(node: &NodeProto, kernel: Arc<dyn Kernel>) -> Built {
    // An optional output that nobody wants has no name and no outlet.
    let kept = optional_outputs(node).take(node.output.len()).enumerate();
    let kept = kept.filter_map(|(place, wanted)| wanted.map(|_| place)).collect();
    Ok((expand(Parsed(KernelOp { kernel, kept })), vec![]))
}

/// The node before types and shapes are known.
#[derive(Clone, Debug)]
struct Parsed(KernelOp);

impl Expansion for Parsed {
    fn name(&self) -> StaticName {
        self.0.kernel.name().into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.0.kept.len())
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.0.rules(s, inputs, outputs)
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let facts = inputs.iter().map(|&input| Ok(spec_of(model.outlet_fact(input)?)));
        let mut op = self.0.clone();
        if let Some(kernel) = op.kernel.specialise(&facts.collect::<TractResult<TVec<_>>>()?)? {
            op.kernel = kernel;
        }
        model.wire_node(prefix, op, inputs)
    }
}

fn spec_of(fact: &TypedFact) -> Spec {
    Spec { datum: fact.datum_type, shape: fact.shape.to_tvec() }
}

/// The node in a plan.
#[derive(Clone, Debug)]
pub(crate) struct KernelOp {
    kernel: Arc<dyn Kernel>,
    /// Which of its outputs the graph uses.
    kept: TVec<usize>,
}

impl KernelOp {
    /// With one output.
    pub(super) fn new(kernel: Arc<dyn Kernel>) -> Self {
        Self { kernel, kept: tvec!(0) }
    }

    /// Infers the outputs' types and shapes once those of all inputs are known.
    pub(super) fn rules<'r, 'p: 'r>(
        &self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        let op = self.clone();
        s.given_all(inputs.iter().map(|input| &input.datum_type), move |s, types| {
            let op = op.clone();
            s.given_all(inputs.iter().map(|input| &input.shape), move |s, shapes| {
                let specs = types.iter().zip(shapes).map(|(&datum, shape)| Spec { datum, shape });
                let found = op.outputs(&specs.collect::<TVec<_>>())?;
                for (output, spec) in outputs.iter().zip(found) {
                    s.equals(&output.datum_type, spec.datum)?;
                    s.equals(&output.shape, spec.shape)?;
                }
                Ok(())
            })
        })
    }

    /// What it holds, for telling shared ones apart, and its size in bytes.
    pub(crate) fn resident(&self) -> (usize, usize) {
        (Arc::as_ptr(&self.kernel).cast::<()>() as usize, self.kernel.bytes())
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        self.keep(self.kernel.outputs(inputs).with_context(|| self.kernel.name().to_owned())?)
    }

    fn keep<T>(&self, all: TVec<T>) -> TractResult<TVec<T>> {
        if self.kept.len() == all.len() {
            return Ok(all);
        }
        let (name, count) = (self.kernel.name(), all.len());
        ensure!(self.kept.iter().all(|&place| place < count), "{name} has {count} outputs");
        let all = all.into_iter().enumerate();
        Ok(all.filter(|(place, _)| self.kept.contains(place)).map(|(_, output)| output).collect())
    }
}

impl PartialEq for KernelOp {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.kernel), Arc::as_ptr(&other.kernel)) && self.kept == other.kept
    }
}

impl Eq for KernelOp {}

impl Op for KernelOp {
    fn name(&self) -> StaticName {
        self.kernel.name().into()
    }

    op_as_typed_op!();
}

impl EvalOp for KernelOp {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.keep(self.kernel.eval(&inputs).with_context(|| self.kernel.name().to_owned())?)
    }
}

impl TypedOp for KernelOp {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let specs: TVec<_> = inputs.iter().map(|fact| spec_of(fact)).collect();
        Ok(self.outputs(&specs)?.into_iter().map(|spec| spec.datum.fact(spec.shape)).collect())
    }

    as_op!();
}
