//! The common part of our operators. To tract, each is one node before types are known and one after; here it is two
//! functions: from the types and shapes of the inputs to those of the outputs, and from tensors to tensors.

use std::fmt;
use std::sync::Arc;

use tract_onnx::model::{ParsingContext, optional_outputs};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::invalid::{InvalidValue, column_of};
use crate::rows::{Inputs, Outcome};

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
    pub(super) fn new<T: Datum>(shape: impl IntoIterator<Item = TDim>) -> Self {
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

    /// Where the rows are in the outputs, given where they are in the inputs, of which one has some at least; an error says
    /// how the operator lets rows meet. [`Inputs`] has what most operators need: `elementwise`, `before_last`, `by_row`,
    /// `except` some axes.
    fn rows(&self, inputs: &Inputs<'_>) -> Outcome;

    /// Another that does the same for inputs of these types and shapes, made once for each plan.
    fn specialise(&self, _inputs: &[Spec]) -> TractResult<Option<Arc<dyn Kernel>>> {
        Ok(None)
    }

    /// Another that does the same and holds the values of the inputs that are constant, with the places of the inputs
    /// that it still takes. `values` has the constants, by input.
    fn absorb(&self, _values: &[Option<Arc<Tensor>>]) -> TractResult<Option<Absorbed>> {
        Ok(None)
    }

    /// The inputs whose values it may find [invalid](super::invalid::invalid).
    fn checks(&self) -> &[usize] {
        &[]
    }

    /// Whether it gives sizes that nobody knows before it runs; its outputs' shapes have symbols of its own for these.
    fn opens_sizes(&self) -> bool {
        false
    }

    /// Bytes held.
    fn bytes(&self) -> usize {
        0
    }
}

/// An operator that holds some of its inputs, and the places of those that it still takes.
pub(super) type Absorbed = (Arc<dyn Kernel>, TVec<usize>);

/// The result of a builder, for tract.
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

/// Domain of ONNX Runtime's own operators.
pub(super) const MICROSOFT: &str = "com.microsoft";

/// Domain of what we make of several nodes. No file may use it.
pub(in super::super) const OWN: &str = "modelgate";

/// Wraps a kernel for tract.
#[expect(clippy::unnecessary_wraps, reason = "the type of a builder")]
pub(super) fn built(node: &NodeProto, kernel: Arc<dyn Kernel>) -> Built {
    // An optional output that nobody wants has no name and no outlet.
    let kept = optional_outputs(node).take(node.output.len()).enumerate();
    let kept = kept.filter_map(|(index, wanted)| wanted.map(|_| index)).collect();
    Ok((expand(Parsed(KernelOp { kernel, kept, columns: Arc::new([]) })), vec![]))
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
        wire_kernel(self.0.clone(), prefix, model, inputs)
    }
}

/// Puts a kernel's node into a plan, as good as it can be made for what it gets.
pub(super) fn wire_kernel(
    mut op: KernelOp,
    prefix: &str,
    model: &mut TypedModel,
    inputs: &[OutletId],
) -> TractResult<TVec<OutletId>> {
    let facts = inputs.iter().map(|&input| Ok(spec_of(model.outlet_fact(input)?)));
    if let Some(kernel) = op.kernel.specialise(&facts.collect::<TractResult<TVec<_>>>()?)? {
        op.kernel = kernel;
    }
    op.columns = columns(&*op.kernel, model, inputs);
    model.wire_node(prefix, op, inputs)
}

/// The graph's inputs behind those inputs of a kernel that it checks.
fn columns(kernel: &dyn Kernel, model: &TypedModel, inputs: &[OutletId]) -> Arc<[Option<String>]> {
    let checked = kernel.checks();
    if checked.is_empty() {
        return Arc::new([]);
    }
    let column = |(index, &input)| checked.contains(&index).then(|| column_of(model, input)).flatten();
    inputs.iter().enumerate().map(column).collect()
}

fn spec_of(fact: &TypedFact) -> Spec {
    Spec { datum: fact.datum_type, shape: fact.shape.to_tvec() }
}

/// The node in a plan.
#[derive(Clone, Debug)]
pub(crate) struct KernelOp {
    kernel: Arc<dyn Kernel>,
    /// The indices of its outputs that the graph uses.
    kept: TVec<usize>,
    /// The graph's inputs behind those of its inputs that it checks; to tell callers which value is wrong.
    columns: Arc<[Option<String>]>,
}

impl KernelOp {
    /// With one output.
    pub(super) fn new(kernel: Arc<dyn Kernel>) -> Self {
        Self { kernel, kept: tvec!(0), columns: Arc::new([]) }
    }

    /// With the outputs that a graph uses.
    pub(super) fn with_outputs(kernel: Arc<dyn Kernel>, kept: TVec<usize>) -> Self {
        Self { kernel, kept, columns: Arc::new([]) }
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

    /// Where the rows are in the outputs that the graph uses.
    pub(crate) fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let flows = self.kernel.rows(inputs)?;
        if flows.len() == 1 {
            return Ok(flows);
        }
        self.keep(flows).map_err(|error| error.to_string())
    }

    /// The identity of its content, for telling shared ones apart, and its size in bytes.
    pub(crate) fn resident(&self) -> (usize, usize) {
        (Arc::as_ptr(&self.kernel).cast::<()>() as usize, self.kernel.bytes())
    }

    /// The types and shapes of the outputs that the graph uses.
    pub(super) fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        self.keep(self.kernel.outputs(inputs).with_context(|| self.kernel.name().to_owned())?)
    }

    fn keep<T>(&self, all: TVec<T>) -> TractResult<TVec<T>> {
        if self.kept.len() == all.len() {
            return Ok(all);
        }
        let (name, count) = (self.kernel.name(), all.len());
        ensure!(self.kept.iter().all(|&index| index < count), "{name} has {count} outputs");
        let all = all.into_iter().enumerate();
        Ok(all.filter(|(index, _)| self.kept.contains(index)).map(|(_, output)| output).collect())
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

    fn mints_runtime_symbols(&self) -> bool {
        self.kernel.opens_sizes()
    }

    op_as_typed_op!();
}

impl EvalOp for KernelOp {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let computed = self.kernel.eval(&inputs).map_err(|error| match error.downcast::<InvalidValue>() {
            Ok(invalid) => invalid.located(&self.columns, &inputs).into(),
            Err(error) => error.context(self.kernel.name()),
        });
        self.keep(computed?)
    }
}

impl TypedOp for KernelOp {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let specs: TVec<_> = inputs.iter().map(|fact| spec_of(fact)).collect();
        Ok(self.outputs(&specs)?.into_iter().map(|spec| spec.datum.fact(spec.shape)).collect())
    }

    fn declutter(&self, model: &TypedModel, node: &TypedNode) -> TractResult<Option<TypedModelPatch>> {
        let facts = model.node_input_facts(node.id)?;
        let values: TVec<_> = facts.iter().map(|fact| fact.konst.clone()).collect();
        let Some((kernel, taken)) = self.kernel.absorb(&values)? else { return Ok(None) };
        let inputs: TVec<_> = taken.iter().filter_map(|&index| node.inputs.get(index).copied()).collect();
        let columns = columns(&*kernel, model, &inputs);
        TypedModelPatch::replace_single_op(model, node, &inputs, Self { kernel, kept: self.kept.clone(), columns })
            .map(Some)
    }

    as_op!();
}
