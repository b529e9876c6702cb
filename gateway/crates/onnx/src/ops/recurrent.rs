//! `LSTM`, `GRU` and `RNN`. A state that is not given is zeros, each run begins anew, and a row's result has the same bits
//! whatever rows are beside it. tract's own want an initial state and a batch of known size, and keep their state from one
//! run to the next.
//!
//! Shapes: `X` is `[time, batch, features]`, `W` `[directions, gates * hidden, features]`, `R`
//! `[directions, gates * hidden, hidden]`, `B` `[directions, 2 * gates * hidden]`; results are
//! `[time, directions, batch, hidden]`, and for each state `[directions, batch, hidden]`. With `layout = 1` the batch comes
//! first everywhere.

mod activation;
mod cell;
mod kind;
mod quantized;
mod real;
mod sequence;
#[cfg(test)]
mod tests;
mod vector_math;

use std::sync::Arc;

use tract_onnx::model::optional_inputs;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use self::activation::Activation;
use self::kind::Kind;
pub(super) use self::quantized::OPERATOR as DYNAMIC_QUANTIZE_LSTM;
use self::real::Real;
use self::sequence::{Direction, LENGTHS, Layout, Results, Run, States};
use super::attributes::Attributes;
use super::kernel::{Absorbed, Built, Kernel, Operator, Spec, built};
use super::values::{tensor, values};
use crate::rows::{Along, Inputs, MIXES, ONE_BY_ONE, Outcome};

const ATTRIBUTES: [&str; 10] = [
    "activation_alpha",
    "activation_beta",
    "activations",
    "clip",
    "direction",
    "hidden_size",
    "input_forget",
    "layout",
    "linear_before_reset",
    "output_sequence",
];

pub(super) const LSTM: Operator =
    Operator { domain: "", name: "LSTM", attributes: &ATTRIBUTES, build: |_, node| build(node, Kind::Lstm) };

pub(super) const GRU: Operator =
    Operator { domain: "", name: "GRU", attributes: &ATTRIBUTES, build: |_, node| build(node, Kind::Gru) };

pub(super) const RNN: Operator =
    Operator { domain: "", name: "RNN", attributes: &ATTRIBUTES, build: |_, node| build(node, Kind::Rnn) };

fn build(node: &NodeProto, kind: Kind) -> Built {
    let recurrent =
        Recurrent { settings: Settings::new(node, kind)?, slots: Slots::new(node), single: None, double: None };
    built(node, Arc::new(recurrent))
}

/// The values of the attributes.
#[derive(Clone, Debug)]
struct Settings {
    kind: Kind,
    /// Whether each direction goes back in time, and its activations.
    directions: Vec<(bool, Vec<Activation>)>,
    layout: Layout,
    /// Sums before activations are cut to this much on either side of zero.
    clip: Option<f32>,
    /// LSTM: the forget gate is one less the input gate.
    input_forget: bool,
    /// GRU: the reset gate applies after the product.
    linear_before_reset: bool,
    /// As the attribute says it.
    hidden: Option<usize>,
}

impl Settings {
    fn new(node: &NodeProto, kind: Kind) -> TractResult<Self> {
        let attributes = Attributes(node);
        let reverse: &[bool] = match attributes.text("direction")?.unwrap_or("forward") {
            "forward" => &[false],
            "reverse" => &[true],
            "bidirectional" => &[false, true],
            other => bail!("direction '{other}' is not known"),
        };
        let activations = Activation::read(attributes, kind.activations(), reverse.len())?;
        let layout = match attributes.int("layout").unwrap_or(0) {
            0 => Layout::TimeFirst,
            1 => Layout::BatchFirst,
            other => bail!("layout {other} is not known"),
        };
        let hidden = attributes.int("hidden_size").map(usize::try_from).transpose();
        Ok(Self {
            kind,
            directions: reverse.iter().copied().zip(activations).collect(),
            layout,
            clip: attributes.float("clip").filter(|&clip| clip > 0.0 && clip.is_finite()),
            input_forget: attributes.int("input_forget").unwrap_or(0) != 0,
            linear_before_reset: attributes.int("linear_before_reset").unwrap_or(0) != 0,
            hidden: hidden.context("attribute 'hidden_size' is negative")?,
        })
    }

    /// The rows are those of the batch.
    fn rows(&self, inputs: &Inputs<'_>, slots: &Slots) -> Outcome {
        let (batch, sequence) = match self.layout {
            Layout::TimeFirst => (1, 2),
            Layout::BatchFirst => (0, 0),
        };
        let mut found: Option<&Along> = None;
        for (slot, along) in inputs.with_rows()? {
            let is = |which: usize| slots.0[which] == Some(slot);
            let expected = match slot {
                _ if is(X) && along.axis == 1 - batch => return Err(ONE_BY_ONE.into()),
                _ if is(X) || is(H) || is(C) => batch,
                _ if is(LENGTHS) => 0,
                _ => return Err(MIXES.into()),
            };
            let fits = found.is_none_or(|found| (&found.outer, &found.inner) == (&along.outer, &along.inner));
            if along.axis != expected || !fits {
                return Err(MIXES.into());
            }
            found = Some(along);
        }
        let along = found.ok_or(MIXES)?;
        let mut flows = tvec!(along.on(sequence));
        flows.extend((0..self.kind.states()).map(|_| along.on(batch)));
        Ok(flows)
    }

    /// The results' types and shapes: of the sequence and of each state.
    fn results(&self, x: &Spec, hidden: &TDim) -> TractResult<TVec<Spec>> {
        ensure!(x.shape.len() == 3, "X has the shape {:?}, expected three dimensions", x.shape);
        if let Some(expected) = self.hidden {
            ensure!(*hidden == expected.to_dim(), "hidden_size is {expected}, the weights are for {hidden}");
        }
        let directions = self.directions.len().to_dim();
        let (time, batch) = match self.layout {
            Layout::TimeFirst => (x.shape[0].clone(), x.shape[1].clone()),
            Layout::BatchFirst => (x.shape[1].clone(), x.shape[0].clone()),
        };
        let hidden = hidden.clone();
        let (sequence, state) = match self.layout {
            Layout::TimeFirst => {
                (tvec!(time, directions.clone(), batch.clone(), hidden.clone()), tvec!(directions, batch, hidden))
            }
            Layout::BatchFirst => {
                (tvec!(batch.clone(), time, directions.clone(), hidden.clone()), tvec!(batch, directions, hidden))
            }
        };
        let mut specs = tvec!(Spec { datum: x.datum, shape: sequence });
        specs.extend((0..self.kind.states()).map(|_| Spec { datum: x.datum, shape: state.clone() }));
        Ok(specs)
    }
}

/// The operator's inputs in the standard's order.
const NAMES: [&str; 8] = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"];
const X: usize = 0;
const W: usize = 1;
const R: usize = 2;
const B: usize = 3;
const H: usize = 5;
const C: usize = 6;
const P: usize = 7;

/// Where among the inputs that a node has each of the standard's is.
#[derive(Clone, Debug)]
struct Slots([Option<usize>; NAMES.len()]);

impl Slots {
    fn new(node: &NodeProto) -> Self {
        let mut found = optional_inputs(node);
        Self(std::array::from_fn(|_| found.next().flatten()))
    }

    fn find<'a, T>(&self, inputs: &'a [T], which: usize) -> Option<&'a T> {
        self.0[which].and_then(|slot| inputs.get(slot))
    }

    fn get<'a, T>(&self, inputs: &'a [T], which: usize) -> TractResult<&'a T> {
        self.find(inputs, which).with_context(|| format!("input {} is missing", NAMES[which]))
    }

    /// The values of an input, nothing if it is left out.
    fn values<'a, T: Datum + Copy>(&self, inputs: &'a [TValue], which: usize) -> TractResult<Option<Cow<'a, [T]>>> {
        self.find(inputs, which).map(|tensor| values::<T>(tensor)).transpose()
    }
}

/// `LSTM`, `GRU` or `RNN`.
#[derive(Clone, Debug)]
struct Recurrent {
    settings: Settings,
    slots: Slots,
    /// The weights, if they are constant, for halves and singles or for doubles; not with [`Slots`] then.
    single: Option<Arc<[Direction<f32>]>>,
    double: Option<Arc<[Direction<f64>]>>,
}

impl Recurrent {
    fn directions<T: Real>(&self, inputs: &[TValue]) -> TractResult<Vec<Direction<T>>> {
        let (w, r) = (self.slots.get(inputs, W)?, self.slots.get(inputs, R)?);
        let (count, gates) = (self.settings.directions.len(), self.settings.kind.gates());
        let (&[w_count, w_outputs, features], &[r_count, r_outputs, hidden]) = (w.shape(), r.shape()) else {
            bail!("expected weights of three dimensions, got {:?} and {:?}", w.shape(), r.shape());
        };
        let outputs = gates.checked_mul(hidden).context("the hidden size is out of range")?;
        let fits = [w_count, r_count] == [count; 2] && [w_outputs, r_outputs] == [outputs; 2];
        ensure!(fits, "weights of the shapes {:?} and {:?} for {count} directions", w.shape(), r.shape());
        let (w, r) = (values::<T>(w)?, values::<T>(r)?);
        let bias = self.slots.values::<T>(inputs, B)?;
        let peepholes = self.slots.values::<T>(inputs, P)?;
        let part = |all: &Option<Cow<'_, [T]>>, direction: usize, size: usize, what: usize| match all {
            None => Ok(Vec::new()),
            Some(all) => {
                ensure!(all.len() == size * count, "{} has {} values", NAMES[what], all.len());
                Ok(all[direction * size..][..size].to_vec())
            }
        };
        let make = |(direction, (reverse, activations)): (usize, &(bool, Vec<Activation>))| {
            let shape = self.settings.shape(features, hidden);
            let w = &w[direction * outputs * features..][..outputs * features];
            let r = &r[direction * outputs * hidden..][..outputs * hidden];
            let bias = part(&bias, direction, 2 * outputs, B)?;
            let peepholes = part(&peepholes, direction, 3 * hidden, P)?;
            Direction::new(shape, *reverse, activations.clone(), (w, r), &bias, peepholes)
        };
        self.settings.directions.iter().enumerate().map(make).collect()
    }

    fn run<T: Real>(&self, directions: &[Direction<T>], inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let x = self.slots.get(inputs, X)?;
        let &[first, second, features] = x.shape() else { bail!("expected three dimensions, got {:?}", x.shape()) };
        let (time, batch) = match self.settings.layout {
            Layout::TimeFirst => (first, second),
            Layout::BatchFirst => (second, first),
        };
        let lengths = self.slots.values::<i64>(inputs, LENGTHS)?;
        let initial = States { h: self.slots.values::<T>(inputs, H)?, c: self.slots.values::<T>(inputs, C)? };
        let values = values::<T>(x)?;
        let run = Run {
            x: &values,
            time,
            batch,
            features,
            layout: self.settings.layout,
            lengths: lengths.as_deref(),
            initial: &initial,
        };
        let results = run.all(directions)?;
        self.tensors(results, (time, batch, hidden(directions)), x.datum_type())
    }

    fn tensors<T: Real>(
        &self,
        results: Results<T>,
        (time, batch, hidden): (usize, usize, usize),
        datum: DatumType,
    ) -> TractResult<TVec<TValue>> {
        let count = self.settings.directions.len();
        let (sequence, state) = match self.settings.layout {
            Layout::TimeFirst => ([time, count, batch, hidden], [count, batch, hidden]),
            Layout::BatchFirst => ([batch, time, count, hidden], [batch, count, hidden]),
        };
        let mut tensors = tvec!(tensor(&sequence, results.sequence)?, tensor(&state, results.h)?);
        if self.settings.kind.states() > 1 {
            tensors.push(tensor(&state, results.c)?);
        }
        if datum == T::datum_type() {
            return Ok(tensors);
        }
        tensors.into_iter().map(|tensor| Ok(tensor.cast_to_dt(datum)?.into_owned().into())).collect()
    }
}

impl Settings {
    fn shape(&self, features: usize, hidden: usize) -> sequence::Shape {
        sequence::Shape {
            kind: self.kind,
            features,
            hidden,
            clip: self.clip,
            input_forget: self.input_forget,
            linear_before_reset: self.linear_before_reset,
        }
    }
}

fn hidden<T: Real>(directions: &[Direction<T>]) -> usize {
    directions.first().map_or(0, |direction| direction.shape.hidden)
}

impl Kernel for Recurrent {
    fn name(&self) -> &'static str {
        self.settings.kind.name()
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let x = self.slots.get(inputs, X)?;
        ensure!(x.datum.is_float(), "values of type {:?} are not supported", x.datum);
        let hidden = match (&self.single, &self.double) {
            (Some(directions), _) => hidden(directions).to_dim(),
            (_, Some(directions)) => hidden(directions).to_dim(),
            (None, None) => {
                let r = self.slots.get(inputs, R)?;
                r.shape.get(2).cloned().with_context(|| format!("R has the shape {:?}", r.shape))?
            }
        };
        self.settings.results(x, &hidden)
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        self.settings.rows(inputs, &self.slots)
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        match (&self.single, &self.double) {
            (Some(directions), _) => self.run(directions, inputs),
            (_, Some(directions)) => self.run(directions, inputs),
            (None, None) if self.slots.get(inputs, X)?.datum_type() == f64::datum_type() => {
                self.run(&self.directions::<f64>(inputs)?, inputs)
            }
            (None, None) => self.run(&self.directions::<f32>(inputs)?, inputs),
        }
    }

    fn absorb(&self, known: &[Option<Arc<Tensor>>]) -> TractResult<Option<Absorbed>> {
        let weights = [W, R, B, P].map(|which| self.slots.0[which]);
        let is_known = |slot: usize| known.get(slot).is_some_and(Option::is_some);
        if self.slots.0[W].is_none() || !weights.iter().flatten().all(|&slot| is_known(slot)) {
            return Ok(None);
        }
        let Some(Some(w)) = self.slots.find(known, W) else { return Ok(None) };
        let nothing = || Arc::new(Tensor::default());
        let inputs: Vec<TValue> =
            known.iter().map(|value| value.clone().unwrap_or_else(nothing).into_tvalue()).collect();
        let mut absorbed = self.clone();
        if w.datum_type() == f64::datum_type() {
            absorbed.double = Some(self.directions::<f64>(&inputs)?.into());
        } else {
            absorbed.single = Some(self.directions::<f32>(&inputs)?.into());
        }
        let taken: TVec<usize> = (0..known.len()).filter(|&index| !weights.contains(&Some(index))).collect();
        let moved = |slot: Option<usize>| slot.and_then(|slot| taken.iter().position(|&index| index == slot));
        absorbed.slots = Slots(self.slots.0.map(moved));
        Ok(Some((Arc::new(absorbed), taken)))
    }

    fn bytes(&self) -> usize {
        let single = self.single.iter().flat_map(|directions| directions.iter()).map(Direction::bytes);
        let double = self.double.iter().flat_map(|directions| directions.iter()).map(Direction::bytes);
        single.chain(double).sum()
    }
}
