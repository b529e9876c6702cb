//! The plans of a model: which there are, and which of them are trusted.
//!
//! Converters leave the batch dimension unnamed, or call it anything, or fix it to 1. In a table the first dimension of
//! every input becomes the number of rows: a symbol in the plan for many, 1 in the plan for one row. What is no table is
//! served as the file has it, all sizes that the file leaves open being symbols. Where such a plan cannot be built, or is
//! slower than one for concrete sizes, plans are built for the sizes that come: see [`Sized`].
//!
//! The plans are tried independently: one that cannot be built, panics or fails its trial ends no other.

use std::sync::Arc;

use modelgate_columns::{Column, Signature};
use tract_onnx::tract_hir::internal::{
    DatumType, InferenceModel, TDim, TValue, TVec, Tensor, ToDim, TractError, TractResult, TypedModel,
};

use super::columns::{self, Layout};
use super::error::ModelError;
use super::failure::{engine, is_refused};
use super::interface::{self, Declared, Input, Mode, ROWS};
use super::plan::{Plan, Resident, RunnablePlan, typed, within_bounds};
use super::rows::{self, RowDependence};
use super::sized::{Sized, concrete};
use super::trial::{self, Fill, Sample, Verdict};

/// Plans for concrete sizes that are built to try a model, at most; each takes as long as all the others.
const BUILDS: usize = 12;

/// Of these, those that are passed over because an output is no single value, though the file says so.
const SCALARS: usize = 3;

/// The kinds of plans that were chosen by time. Another load on a busy machine may choose others, which may add up in
/// another order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kinds {
    one: bool,
    sized: bool,
}

impl Kinds {
    /// The kinds in a text that [`Plans::kinds`] gave.
    pub(super) fn named(text: &str) -> Self {
        let has = |kind| text.split('+').any(|named| named == kind);
        Self { one: has("one"), sized: has("sized") }
    }
}

/// The plans of a model; at least one of the three is there.
#[derive(Debug)]
pub(super) struct Plans {
    pub(super) signature: Signature,
    pub(super) layout: Layout,
    /// Any number of rows, or tensors of any sizes that the file leaves open.
    pub(super) many: Option<RunnablePlan>,
    /// One row; only if it is faster at that, or there is no other.
    pub(super) one: Option<RunnablePlan>,
    /// Concrete sizes; only if they are faster, or there is no other.
    pub(super) sized: Option<Arc<Sized>>,
    /// Whether the file is made for one row, so that several are run one by one.
    pub(super) one_row: bool,
    /// Whether a row's answer may depend on those that it is run with.
    pub(super) rows: RowDependence,
    resident: usize,
}

impl Plans {
    /// Plans for a graph from a file of so many bytes.
    pub(super) fn new(
        model: &InferenceModel,
        outputs: &[Declared],
        mode: Mode,
        file_bytes: usize,
        earlier: Option<Kinds>,
    ) -> Result<Self, ModelError> {
        let inputs = interface::inputs(model)?;
        let graph = Graph { model, inputs: &inputs, outputs, file_bytes, earlier };
        match mode {
            Mode::Tensors => graph.tensors(),
            Mode::Tables => graph.table(),
            Mode::Auto => graph.table().or_else(|error| match error {
                ModelError::Constants(_) => Err(error),
                _ => graph.tensors(),
            }),
        }
    }

    /// The kinds of plans that are there, by name.
    pub(super) fn kinds(&self) -> String {
        let kinds = [("many", self.many.is_some()), ("one", self.one.is_some()), ("sized", self.sized.is_some())];
        let kinds: Vec<_> = kinds.into_iter().filter_map(|(kind, is_there)| is_there.then_some(kind)).collect();
        kinds.join("+")
    }

    /// Whether an input has other sizes than its rows that a request decides.
    pub(super) fn leaves_sizes_open(&self) -> bool {
        self.signature.inputs.iter().any(|column| column.inner_shape().iter().any(|&dim| dim < 0))
    }

    /// Constants and operators' own data, shared ones counted once, and what plans for concrete sizes may come to take. An
    /// estimate.
    pub(super) fn resident_bytes(&self) -> usize {
        self.resident
    }

    /// Whether a request may have to wait for a plan to be built.
    pub(super) fn may_wait(&self) -> bool {
        self.sized.is_some() && self.many.is_none()
    }
}

/// A graph whose plans are made.
struct Graph<'a> {
    model: &'a InferenceModel,
    inputs: &'a [Input],
    outputs: &'a [Declared],
    file_bytes: usize,
    /// The kinds that an earlier load of the file chose.
    earlier: Option<Kinds>,
}

/// The results of the plans in which open sizes are symbols, before they are compared with plans for concrete sizes.
struct Symbolic {
    many: Option<Plan>,
    one: Option<Plan>,
    /// Why there is none of them.
    error: Option<TractError>,
    /// Whether rows depend on each other; `None` where the graph could not be analysed for any number of rows.
    rows: Option<RowDependence>,
}

impl Graph<'_> {
    /// Plans for rows.
    fn table(&self) -> Result<Plans, ModelError> {
        if let Some(reason) = interface::no_table(self.inputs) {
            return Err(reason);
        }
        let one_row = interface::is_one_row(self.inputs);
        let symbol = self.model.symbols.sym(ROWS);
        let rows = symbol.to_dim();
        let mut dependence = None;
        let look = |graph: &TypedModel| dependence = Some(rows::dependence(graph, &symbol));
        let many = match self.with_rows(&rows, look) {
            Err(error) if is_refused(&error) => return Err(engine(error)),
            many => many,
        };
        let one = self.with_rows(&1.to_dim(), |_| ());
        if let Ok(one) = &one
            && let Some(output) = self.meant_for_one(&one.outputs).next()
        {
            let problem = "the file declares a single value, and gives one for one row".to_owned();
            return Err(ModelError::Column { side: "output", name: output.name.clone(), problem });
        }
        let one = one.and_then(|one| self.rows_first(one, &1.to_dim()));
        if let Ok(many) = &many
            && !one_row
            && let Err(error) = self.output_columns(Layout::Rows, &many.outputs, &rows)
            && !one.as_ref().is_ok_and(|one| self.is_row_by_row(many, one))
        {
            // What is not given for each row is given for all of them together.
            return Err(error);
        }
        let many = many.and_then(|many| self.rows_first(many, &rows));
        let (many, one, error) = match (many, one) {
            (Ok(many), one) => (Some(many), one.ok(), None),
            (Err(_), Ok(one)) => (None, Some(one), None),
            (Err(error), Err(_)) => (None, None, Some(error)),
        };
        let mut symbolic = Symbolic { many, one, error, rows: dependence };
        symbolic.try_rows(self.inputs, self.earlier);
        self.finish(Layout::Rows, symbolic, one_row)
    }

    /// The outputs that are a single value both by the file and by a plan.
    fn meant_for_one<'a>(&'a self, outputs: &'a [(DatumType, TVec<TDim>)]) -> impl Iterator<Item = &'a Declared> {
        let both = self.outputs.iter().zip(outputs);
        both.filter(|(declared, (_, dims))| declared.is_scalar && dims.is_empty()).map(|(declared, _)| declared)
    }

    /// Whether an output that the file declares as a single value is more than that.
    fn is_larger(&self, outputs: &[(DatumType, TVec<TDim>)]) -> bool {
        self.outputs.iter().zip(outputs).any(|(declared, (_, dims))| declared.is_scalar && !dims.is_empty())
    }

    /// Plans for tensors as they are.
    fn tensors(&self) -> Result<Plans, ModelError> {
        let shapes = self.inputs.iter().map(|input| input.dims.clone());
        let plan = within_bounds(self.file_bytes, || Plan::new(typed(self.model, self.inputs, shapes)?));
        let (many, error) = match plan {
            Ok(plan) => (Some(plan), None),
            Err(error) if is_refused(&error) => return Err(engine(error)),
            Err(error) => (None, Some(error)),
        };
        self.finish(Layout::Whole, Symbolic { many, one: None, error, rows: None }, false)
    }

    /// Whether two rows together get the values that each gets alone, in whatever shape: some converters turn a column of
    /// labels into a row of them.
    fn is_row_by_row(&self, many: &Plan, one: &Plan) -> bool {
        let same = |both: &Sample| -> TractResult<bool> {
            let together = many.run(both.tensors.clone())?;
            let [first, second] = [0, 1].map(|row| both.row(row).and_then(|row| one.run(row.tensors)));
            let (first, second) = (first?, second?);
            let alone = first.iter().zip(&second);
            let alone = alone.map(|(first, second)| Tensor::stack_tensors(0, &[first.clone(), second.clone()]));
            let flat =
                |tensor: &Tensor| -> TractResult<TValue> { Ok(tensor.clone().into_shape(&[tensor.len()])?.into()) };
            let alone = alone.map(|column| flat(&column?)).collect::<TractResult<Vec<_>>>()?;
            let together = together.iter().map(|output| flat(output)).collect::<TractResult<Vec<_>>>()?;
            Ok(trial::agree(&together, &alone))
        };
        let mut verdicts = Sample::all(self.inputs, Some(2)).filter_map(|both| same(&both).ok());
        verdicts.next().unwrap_or(false)
    }

    /// The plan for so many rows; `look` sees its graph before it is lowered to what a processor runs.
    fn with_rows(&self, rows: &TDim, look: impl FnOnce(&TypedModel)) -> TractResult<Plan> {
        let shapes = self.inputs.iter().map(|input| input.with_rows(rows));
        within_bounds(self.file_bytes, || {
            let graph = typed(self.model, self.inputs, shapes)?;
            look(&graph);
            Plan::new(graph)
        })
    }

    /// The plan, if each of its outputs has as many rows.
    fn rows_first(&self, plan: Plan, rows: &TDim) -> TractResult<Plan> {
        match self.output_columns(Layout::Rows, &plan.outputs, rows) {
            Ok(_) => Ok(plan),
            Err(error) => Err(TractError::msg(error)),
        }
    }

    /// Compares with plans for concrete sizes, and puts together what is there.
    fn finish(&self, layout: Layout, mut symbolic: Symbolic, one_row: bool) -> Result<Plans, ModelError> {
        let skip = usize::from(layout == Layout::Rows);
        let open = self.inputs.iter().any(|input| input.dims.iter().skip(skip).any(|dim| dim.to_i64().is_err()));
        let chosen = if open { self.choose(layout, &mut symbolic)? } else { None };
        let signature = self.signature(layout, &symbolic, chosen.as_ref())?;

        let mut resident = Resident::default();
        for plan in symbolic.many.iter().chain(&symbolic.one) {
            resident.add_plan(&plan.runnable);
        }
        let mut bytes = resident.bytes();
        // Several rows that are not run one by one get a plan for their number.
        let together = layout == Layout::Rows && symbolic.many.is_none() && !one_row && self.rows_meet(&symbolic);
        let sized = if chosen.is_some() || together {
            resident.add_graph(self.model);
            let base = resident.bytes();
            let (inputs, outputs) = (self.inputs.to_vec(), signature.outputs.clone());
            let sized = Sized::new(self.model.clone(), inputs, outputs, layout == Layout::Rows, self.file_bytes, base);
            if let Some(Chosen { sample, plan }) = &chosen {
                sized.keep(&sample.shapes.concat(), plan);
            }
            bytes = base.saturating_add(sized.limit());
            Some(Arc::new(sized))
        } else {
            None
        };
        let rows = match (layout, &symbolic.many) {
            (Layout::Whole, _) => Some(dependent("it takes tensors as they are, not rows")),
            // Several rows are run one by one.
            (Layout::Rows, None) if sized.is_none() || one_row => Some(RowDependence::Independent),
            (Layout::Rows, None) if together => Some(dependent("rows together get other answers than each alone")),
            (Layout::Rows, _) => symbolic.rows,
        };
        let rows = rows.unwrap_or_else(|| dependent("its graph cannot be analysed for any number of rows"));
        let [many, one] = [symbolic.many, symbolic.one].map(|plan| plan.map(|plan| plan.runnable));
        if many.is_none() && one.is_none() && chosen.is_none() {
            return Err(symbolic.error.map_or_else(|| ModelError::Engine("it has no plan".into()), engine));
        }
        Ok(Plans { signature, layout, many, one, sized, one_row, rows, resident: bytes })
    }

    /// Whether two rows together get other answers than each alone, as far as a trial shows.
    fn rows_meet(&self, symbolic: &Symbolic) -> bool {
        let Some(one) = &symbolic.one else { return false };
        let mut samples = Sample::all(self.inputs, Some(2));
        let Some(sample) = samples.next() else { return false };
        let plan = concrete(self.model, self.inputs, &sample.shapes.concat(), self.file_bytes);
        let Ok(plan) = plan.and_then(|plan| self.rows_first(plan, &2.to_dim())) else { return false };
        let same_shapes: Vec<Sample> = [sample].into_iter().chain(samples).take(Fill::ALL.len()).collect();
        same_shapes.into_iter().any(|both| {
            let Ok(together) = plan.run(both.tensors.clone()) else { return false };
            (0..2).any(|row| {
                let alone = both.row(row).and_then(|alone| one.run(alone.tensors));
                let of_row = together.iter().map(|output| Ok(output.slice(0, row, row + 1)?.into()));
                let of_row = of_row.collect::<TractResult<Vec<_>>>();
                matches!((alone, of_row), (Ok(alone), Ok(of_row)) if !trial::agree(&of_row, &alone))
            })
        })
    }

    /// A plan for concrete sizes, if it is faster than those with symbols, or runs where they do not. What it shows not to
    /// be trusted is dropped.
    fn choose(&self, layout: Layout, symbolic: &mut Symbolic) -> Result<Option<Chosen>, ModelError> {
        let rows = (layout == Layout::Rows).then_some(1);
        let mut built: Option<(Vec<Vec<usize>>, TractResult<Plan>)> = None;
        let mut builds = 0;
        for sample in Sample::all(self.inputs, rows) {
            let base = symbolic.one.as_ref().or(symbolic.many.as_ref());
            let expected = base.map(|base| base.run(sample.tensors.clone()));
            // What neither plan is known to take says nothing; without a plan, sizes are tried until one can be built.
            if built.as_ref().is_none_or(|(shapes, _)| *shapes != sample.shapes) {
                if builds == BUILDS {
                    break;
                }
                builds += 1;
                let plan = concrete(self.model, self.inputs, &sample.shapes.concat(), self.file_bytes);
                let plan = plan.and_then(|plan| match layout {
                    Layout::Rows => self.rows_first(plan, &1.to_dim()),
                    Layout::Whole => Ok(plan),
                });
                built = Some((sample.shapes.clone(), plan));
            }
            let plan = match &built {
                Some((_, Ok(plan))) => plan,
                Some((_, Err(error))) if is_refused(error) => break,
                Some((_, Err(_))) if matches!(expected, Some(Ok(_))) => return Ok(None),
                _ => continue,
            };
            let Ok(outputs) = plan.run(sample.tensors.clone()) else {
                if matches!(expected, Some(Ok(_))) {
                    return Ok(None);
                }
                continue;
            };
            // What the file declares as a single value is one for some sizes: a squeezed batch of one, for instance.
            let is_none = symbolic.many.is_none() && symbolic.one.is_none();
            if layout == Layout::Whole && is_none && builds < SCALARS && self.is_larger(&plan.outputs) {
                continue;
            }
            let trusted =
                expected.is_some_and(|expected| expected.is_ok_and(|expected| trial::agree(&outputs, &expected)));
            if !trusted {
                (symbolic.many, symbolic.one) = (None, None);
            }
            let is_chosen = self.earlier.map_or_else(|| is_worth_it(plan, symbolic, &sample), |kinds| kinds.sized);
            return Ok(is_chosen.then(|| Chosen { sample, plan: plan.clone() }));
        }
        if let (None, None, Some((_, Err(error)))) = (&symbolic.many, &symbolic.one, built) {
            return Err(engine(error));
        }
        Ok(None)
    }

    fn signature(&self, layout: Layout, symbolic: &Symbolic, chosen: Option<&Chosen>) -> Result<Signature, ModelError> {
        let input = |input: &Input| match layout {
            Layout::Rows => input.table_column(),
            Layout::Whole => input.tensor_column(),
        };
        let inputs = self.inputs.iter().map(input).collect::<Result<_, _>>()?;
        let outputs = match (symbolic.many.as_ref().or(symbolic.one.as_ref()), chosen) {
            (Some(plan), _) => {
                let rows = plan.outputs.first().and_then(|(_, dims)| dims.first().cloned()).unwrap_or(1.to_dim());
                self.output_columns(layout, &plan.outputs, &rows)?
            }
            // Which of the sizes are always these, nobody knows.
            (None, Some(Chosen { plan, .. })) => {
                let mut outputs = self.output_columns(layout, &plan.outputs, &1.to_dim())?;
                for column in &mut outputs {
                    column.shape[1..].fill(-1);
                }
                outputs
            }
            (None, None) => Vec::new(),
        };
        Ok(Signature { inputs, outputs })
    }

    fn output_columns(
        &self,
        layout: Layout,
        outputs: &[(DatumType, TVec<TDim>)],
        rows: &TDim,
    ) -> Result<Vec<Column>, ModelError> {
        let mut columns = Vec::new();
        for (Declared { name, .. }, (datum, dims)) in self.outputs.iter().zip(outputs) {
            let inner = match (layout, dims.split_first()) {
                (Layout::Whole, _) => &dims[..],
                (Layout::Rows, Some((first, inner))) if first == rows => inner,
                (Layout::Rows, _) => {
                    let problem = format!("expected a first dimension for the rows, got the shape {dims:?}");
                    return Err(ModelError::Column { side: "output", name: name.clone(), problem });
                }
            };
            columns.push(columns::column("output", name, *datum, &interface::sizes(inner))?);
        }
        Ok(columns)
    }
}

/// Whether plans for concrete sizes save so much that they are worth being built.
fn is_worth_it(plan: &Plan, symbolic: &Symbolic, sample: &Sample) -> bool {
    let others = symbolic.one.iter().chain(&symbolic.many);
    let best = others.filter_map(|other| trial::time(other, sample)).min();
    match (trial::time(plan, sample), best) {
        (Some(concrete), Some(best)) => concrete.as_secs_f64() < 0.9 * best.as_secs_f64(),
        (concrete, None) => concrete.is_some(),
        (None, Some(_)) => false,
    }
}

fn dependent(reason: &str) -> RowDependence {
    RowDependence::Dependent { reason: reason.to_owned() }
}

/// A plan for concrete sizes that was tried.
struct Chosen {
    sample: Sample,
    plan: Plan,
}

impl Symbolic {
    /// Drops the plan for many rows if it fails on two where each alone is fine, and the plan for one unless it is faster
    /// and gives the same. Where an `earlier` load has timed both, its choice holds.
    fn try_rows(&mut self, inputs: &[Input], earlier: Option<Kinds>) {
        if let (Some(many), Some(one)) = (&self.many, &self.one) {
            if trial::two_rows(many, Some(one), inputs) == Verdict::Fails {
                self.many = None;
            } else {
                let is_chosen = || earlier.map_or_else(|| is_faster(one, many, inputs), |kinds| kinds.one);
                if !same_outputs(one, many) || !is_chosen() {
                    self.one = None;
                }
            }
        }
    }
}

/// Whether outputs have the same types and sizes, the rows apart.
fn same_outputs(one: &Plan, many: &Plan) -> bool {
    one.outputs.len() == many.outputs.len()
        && one.outputs.iter().zip(&many.outputs).all(|((one_datum, one), (many_datum, many))| {
            columns::datatype(*one_datum) == columns::datatype(*many_datum)
                && interface::sizes(&one[1..]) == interface::sizes(&many[1..])
        })
}

/// Whether the plan for one row beats the one for many at one row. Fixed sizes mostly do, but not always.
fn is_faster(one: &Plan, many: &Plan, inputs: &[Input]) -> bool {
    for sample in Sample::all(inputs, Some(1)) {
        match (trial::time(one, &sample), trial::time(many, &sample)) {
            (Some(one), Some(many)) => return one.as_secs_f64() < 0.95 * many.as_secs_f64(),
            (Some(_), None) => return true,
            (None, Some(_)) => return false,
            (None, None) => {}
        }
    }
    false
}
