//! `DynamicQuantizeLSTM` of `com.microsoft`: an LSTM whose weights are bytes, and whose input and state are turned into
//! bytes at each product. One scale serves all rows of a batch, as it does in ONNX Runtime.

use std::sync::Arc;

use tract_onnx::model::optional_inputs;
use tract_onnx::tract_hir::internal::*;

use super::activation::Activation;
use super::kind::Kind;
use super::sequence::{Direction, Layout, Quantized, Run, States};
use super::{ATTRIBUTES, Settings, Slots};
use crate::ops::kernel::{Absorbed, Kernel, MICROSOFT, Operator, Spec, built};
use crate::ops::quantize::{quantization, quantize};
use crate::ops::values::{tensor, values};
use crate::rows::{Inputs, ONE_SCALE, Outcome};

pub(in super::super) const OPERATOR: Operator = Operator {
    domain: MICROSOFT,
    name: "DynamicQuantizeLSTM",
    attributes: &ATTRIBUTES,
    build: |_, node| {
        let mut found = optional_inputs(node);
        let slots = std::array::from_fn(|_| found.next().flatten());
        let settings = Settings::new(node, Kind::Lstm)?;
        ensure!(settings.layout == Layout::TimeFirst, "layout 1 is not known");
        built(node, Arc::new(QuantizedLstm { settings, slots, ready: None }))
    },
};

#[derive(Clone, Debug)]
struct QuantizedLstm {
    settings: Settings,
    /// X, W, R, B, lengths, initial h and c, P as for an LSTM; then scale and zero point of W, and of R.
    slots: [Option<usize>; 12],
    /// The weights, if they are constant; not among the slots then.
    ready: Option<Arc<[Direction<f32>]>>,
}

/// The inputs that are weights.
const WEIGHTS: [usize; 8] = [1, 2, 3, 7, 8, 9, 10, 11];

impl QuantizedLstm {
    fn common(&self) -> Slots {
        Slots(std::array::from_fn(|which| self.slots[which]))
    }

    fn get<'a, T>(&self, inputs: &'a [T], which: usize) -> TractResult<&'a T> {
        self.slots[which].and_then(|slot| inputs.get(slot)).with_context(|| format!("input {which} is missing"))
    }

    fn directions(&self, inputs: &[TValue]) -> TractResult<Vec<Direction<f32>>> {
        let common = self.common();
        let (w, r) = (self.get(inputs, 1)?, self.get(inputs, 2)?);
        let count = self.settings.directions.len();
        let (&[w_count, features, w_outputs], &[r_count, hidden, r_outputs]) = (w.shape(), r.shape()) else {
            bail!("expected weights of three dimensions, got {:?} and {:?}", w.shape(), r.shape());
        };
        let outputs = 4 * hidden;
        let fits = [w_count, r_count] == [count; 2] && [w_outputs, r_outputs] == [outputs; 2];
        ensure!(fits, "weights of the shapes {:?} and {:?} for {count} directions", w.shape(), r.shape());
        let bias = common.values::<f32>(inputs, super::B)?;
        let peepholes = common.values::<f32>(inputs, super::P)?;
        let make = |(index, (reverse, activations)): (usize, &(bool, Vec<Activation>))| {
            let part = |all: &Option<Cow<'_, [f32]>>, size: usize| {
                let part = all.as_ref().map(|all| all.get(index * size..(index + 1) * size).map(<[f32]>::to_vec));
                part.unwrap_or_else(|| Some(Vec::new())).context("too few values")
            };
            let bias = part(&bias, 2 * outputs)?;
            let (input_bias, state_bias) = bias.split_at(bias.len() / 2);
            let bias: Vec<f32> = input_bias.iter().zip(state_bias).map(|(one, other)| one + other).collect();
            let matrix = |weights: &Tensor, scale: usize, inner: usize| {
                Bytes::new(
                    weights,
                    (index, count),
                    (inner, outputs),
                    self.get(inputs, scale)?,
                    self.get(inputs, scale + 1)?,
                )
            };
            let weights = QuantizedWeights { input: matrix(w, 8, features)?, state: matrix(r, 10, hidden)?, bias };
            let shape = self.settings.shape(features, hidden);
            Ok(Direction::quantized(
                shape,
                *reverse,
                activations.clone(),
                Box::new(weights),
                part(&peepholes, 3 * hidden)?,
            ))
        };
        self.settings.directions.iter().enumerate().map(make).collect()
    }
}

impl Kernel for QuantizedLstm {
    fn name(&self) -> &'static str {
        "DynamicQuantizeLSTM"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let x = self.get(inputs, 0)?;
        ensure!(x.datum == f32::datum_type(), "values of type {:?} are not supported", x.datum);
        if let Some(directions) = &self.ready {
            return self.settings.results(x, &super::hidden(directions).to_dim());
        }
        let r = self.get(inputs, 2)?;
        let hidden = r.shape.get(1).with_context(|| format!("R has the shape {:?}", r.shape))?;
        self.settings.results(x, hidden)
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let _ = inputs;
        Err(ONE_SCALE.into())
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let common = self.common();
        let x = self.get(inputs, 0)?;
        let &[time, batch, features] = x.shape() else { bail!("expected three dimensions, got {:?}", x.shape()) };
        let made;
        let directions: &[Direction<f32>] = match &self.ready {
            Some(directions) => directions,
            None => {
                made = self.directions(inputs)?;
                &made
            }
        };
        let lengths = common.values::<i64>(inputs, super::LENGTHS)?;
        let initial = States { h: common.values::<f32>(inputs, super::H)?, c: common.values::<f32>(inputs, super::C)? };
        let values = values::<f32>(x)?;
        let lengths = lengths.as_deref();
        let run = Run { x: &values, time, batch, features, layout: Layout::TimeFirst, lengths, initial: &initial };
        let results = run.all(directions)?;
        let (count, hidden) = (directions.len(), super::hidden(directions));
        let state = [count, batch, hidden];
        Ok(tvec!(
            tensor(&[time, count, batch, hidden], results.sequence)?,
            tensor(&state, results.h)?,
            tensor(&state, results.c)?,
        ))
    }

    fn absorb(&self, known: &[Option<Arc<Tensor>>]) -> TractResult<Option<Absorbed>> {
        let weights = WEIGHTS.map(|which| self.slots[which]);
        let is_known = |&slot: &usize| known.get(slot).is_some_and(Option::is_some);
        if self.ready.is_some() || !weights.iter().flatten().all(is_known) {
            return Ok(None);
        }
        let nothing = || Arc::new(Tensor::default());
        let inputs = known.iter().map(|value| value.clone().unwrap_or_else(nothing).into_tvalue());
        let ready = Some(self.directions(&inputs.collect::<Vec<TValue>>())?.into());
        let taken: TVec<usize> = (0..known.len()).filter(|&index| !weights.contains(&Some(index))).collect();
        let moved = |slot: Option<usize>| slot.and_then(|slot| taken.iter().position(|&index| index == slot));
        let absorbed = Self { settings: self.settings.clone(), slots: self.slots.map(moved), ready };
        Ok(Some((Arc::new(absorbed), taken)))
    }

    fn bytes(&self) -> usize {
        self.ready.iter().flat_map(|directions| directions.iter()).map(Direction::bytes).sum()
    }
}

#[derive(Debug)]
struct QuantizedWeights {
    input: Bytes,
    state: Bytes,
    bias: Vec<f32>,
}

impl Quantized<f32> for QuantizedWeights {
    fn input(&self, rows: &[f32], out: &mut [f32]) {
        self.input.multiply(rows, out);
        if !self.bias.is_empty() {
            out.chunks_exact_mut(self.bias.len()).for_each(|out| super::kind::add(out, &self.bias));
        }
    }

    fn state(&self, rows: &[f32], out: &mut [f32]) {
        self.state.multiply(rows, out);
    }

    fn bytes(&self) -> usize {
        self.input.bytes() + self.state.bytes()
    }
}

/// Weights less their zero points, by output, and the scale of each output.
#[derive(Debug)]
struct Bytes {
    inner: usize,
    weights: Vec<i16>,
    scales: Vec<f32>,
}

impl Bytes {
    /// The weights of direction `index`, which lie by input.
    fn new(
        weights: &Tensor,
        (index, count): (usize, usize),
        (inner, outputs): (usize, usize),
        scales: &Tensor,
        zeros: &Tensor,
    ) -> TractResult<Self> {
        let bytes = [i8::datum_type(), u8::datum_type()];
        ensure!(bytes.contains(&weights.datum_type()), "weights of type {:?}", weights.datum_type());
        let (weights, scales, zeros) = (values::<i32>(weights)?, values::<f32>(scales)?, values::<i32>(zeros)?);
        let weights = &weights[index * inner * outputs..][..inner * outputs];
        // One for each direction, or for each output of each.
        let at = |len: usize, output: usize| if len == count { index } else { index * outputs + output };
        let zero = |output: usize| zeros.get(at(zeros.len(), output)).copied().context("a zero point is missing");
        let scale = |output: usize| scales.get(at(scales.len(), output)).copied().context("a scale is missing");
        let mut by_output_weights = Vec::with_capacity(weights.len());
        for output in 0..outputs {
            let zero = zero(output)?;
            by_output_weights
                .extend(weights.iter().skip(output).step_by(outputs).map(|&weight| (weight - zero) as i16));
        }
        let scales = (0..outputs).map(scale).collect::<TractResult<_>>()?;
        Ok(Self { inner, weights: by_output_weights, scales })
    }

    fn bytes(&self) -> usize {
        size_of_val(self.weights.as_slice()) + size_of_val(self.scales.as_slice())
    }

    /// Multiplies rows that are turned into bytes by one scale.
    fn multiply(&self, rows: &[f32], out: &mut [f32]) {
        let (scale, zero) = quantization(rows);
        let quantized: Vec<i16> =
            rows.iter().map(|&value| i16::from(quantize(value, scale, zero)) - i16::from(zero)).collect();
        let outputs = self.scales.len();
        for (row, out) in out.chunks_exact_mut(outputs.max(1)).enumerate() {
            let row = &quantized[row * self.inner..][..self.inner];
            for (output, out) in out.iter_mut().enumerate() {
                let weights = &self.weights[output * self.inner..][..self.inner];
                let sum: i32 = row.iter().zip(weights).map(|(&one, &other)| i32::from(one) * i32::from(other)).sum();
                *out = sum as f32 * (scale * self.scales[output]);
            }
        }
    }
}
