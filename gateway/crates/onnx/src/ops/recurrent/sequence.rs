//! A layer over all steps of all rows.

use tract_onnx::tract_hir::internal::*;

use super::activation::Activation;
use super::kind::{Kind, add};
use super::real::Real;
use crate::ops::values::room;

/// The input that has the steps of each row.
pub(super) const LENGTHS: usize = 4;

/// Whether time or the batch is the first axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    TimeFirst,
    BatchFirst,
}

/// The computation of one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) features: usize,
    pub(super) hidden: usize,
    pub(super) clip: Option<f32>,
    pub(super) input_forget: bool,
    pub(super) linear_before_reset: bool,
}

/// The weights of one direction.
#[derive(Debug)]
pub(super) struct Direction<T: Real> {
    pub(super) shape: Shape,
    reverse: bool,
    pub(super) activations: Vec<Activation>,
    weights: Weights<T>,
    /// Input, output and forget gate; empty if there are none.
    peepholes: Vec<T>,
}

/// The products of a direction.
#[derive(Debug)]
enum Weights<T: Real> {
    /// Products with the input, and with the state.
    Exact { input: T::Matrix, state: StateWeights<T> },
    /// By bytes.
    Quantized(Box<dyn Quantized<T>>),
}

/// Products with rows that are turned into bytes first, all rows by one scale.
pub(super) trait Quantized<T>: std::fmt::Debug + Send + Sync {
    /// The sums for the input, biases included.
    fn input(&self, rows: &[T], out: &mut [T]);

    /// The sums for the state.
    fn state(&self, rows: &[T], out: &mut [T]);

    /// Bytes held.
    fn bytes(&self) -> usize;
}

/// The products with the state.
#[derive(Debug)]
enum StateWeights<T: Real> {
    All(T::Matrix),
    /// A GRU's: of the first two gates, and of the hidden gate.
    Apart(T::Matrix, T::Matrix),
}

impl<T: Real> Direction<T> {
    /// From weights by output (of the input, of the state), and both biases one after the other, or none.
    pub(super) fn new(
        shape: Shape,
        reverse: bool,
        activations: Vec<Activation>,
        (w, r): (&[T], &[T]),
        bias: &[T],
        peepholes: Vec<T>,
    ) -> TractResult<Self> {
        let outputs = shape.kind.gates() * shape.hidden;
        let (input_bias, state_bias) = bias.split_at(bias.len() / 2);
        let mut both = input_bias.to_vec();
        // The hidden gate of a GRU that resets after the product has its bias within what is reset.
        let summed = if shape.linear_before_reset { 2 * shape.hidden } else { outputs };
        add(&mut both[..summed.min(input_bias.len())], state_bias);
        let matrix = |weights: &[T], inputs: usize, outputs: usize, bias: &[T]| {
            T::matrix(weights, (inputs, outputs), bias).context("weights and sizes contradict each other")
        };
        let state = if shape.kind == Kind::Gru {
            let (gates, hidden) = r.split_at(2 * shape.hidden * shape.hidden);
            let bias = state_bias.get(2 * shape.hidden..).filter(|_| shape.linear_before_reset).unwrap_or_default();
            let gates = matrix(gates, shape.hidden, 2 * shape.hidden, &[])?;
            StateWeights::Apart(gates, matrix(hidden, shape.hidden, shape.hidden, bias)?)
        } else {
            StateWeights::All(matrix(r, shape.hidden, outputs, &[])?)
        };
        let weights = Weights::Exact { input: matrix(w, shape.features, outputs, &both)?, state };
        Ok(Self { shape, reverse, activations, weights, peepholes })
    }

    /// With products of bytes.
    pub(super) fn quantized(
        shape: Shape,
        reverse: bool,
        activations: Vec<Activation>,
        weights: Box<dyn Quantized<T>>,
        peepholes: Vec<T>,
    ) -> Self {
        Self { shape, reverse, activations, weights: Weights::Quantized(weights), peepholes }
    }

    /// The factors of the cell in the input, output and forget gate; empty if there are none.
    pub(super) fn peepholes(&self) -> (&[T], &[T], &[T]) {
        let size = self.peepholes.len() / 3;
        let (input, rest) = self.peepholes.split_at(size);
        let (output, forget) = rest.split_at(size);
        (input, output, forget)
    }

    pub(super) fn bytes(&self) -> usize {
        match &self.weights {
            Weights::Exact { input, state } => {
                let state = match state {
                    StateWeights::All(state) => T::matrix_bytes(state),
                    StateWeights::Apart(gates, hidden) => T::matrix_bytes(gates) + T::matrix_bytes(hidden),
                };
                T::matrix_bytes(input) + state
            }
            Weights::Quantized(weights) => weights.bytes(),
        }
    }

    fn multiply_input(&self, rows: &[T], out: &mut [T]) {
        match &self.weights {
            Weights::Exact { input, .. } => T::multiply(input, rows, out),
            Weights::Quantized(weights) => weights.input(rows, out),
        }
    }

    /// One step of all rows: `sums` has the products with the input, and ends up with anything.
    fn step(&self, sums: &mut [T], products: &mut [T], rows: &mut [Row<'_, T>], h: &[T]) {
        let (hidden, width) = (self.shape.hidden, self.shape.kind.gates() * self.shape.hidden);
        match &self.weights {
            Weights::Exact { state: StateWeights::All(state), .. } => T::multiply(state, h, products),
            Weights::Quantized(weights) => weights.state(h, products),
            Weights::Exact { state: StateWeights::Apart(gates, of_hidden), .. } => {
                return self.gru_step((gates, of_hidden), sums, products, rows, h);
            }
        }
        add(sums, products);
        for (row, sums) in rows.iter_mut().zip(sums.chunks_exact_mut(width.max(1))) {
            if !row.active {
                continue;
            }
            match self.shape.kind {
                Kind::Lstm => self.lstm(sums, row.h, row.c),
                Kind::Rnn | Kind::Gru => self.rnn(&mut sums[..hidden], row.h),
            }
        }
    }

    fn gru_step(
        &self,
        (gates, of_hidden): (&T::Matrix, &T::Matrix),
        sums: &mut [T],
        products: &mut [T],
        rows: &mut [Row<'_, T>],
        h: &[T],
    ) {
        let hidden = self.shape.hidden;
        let (products, rest) = products.split_at_mut(2 * hidden * rows.len());
        T::multiply(gates, h, products);
        for (sums, products) in
            sums.chunks_exact_mut((3 * hidden).max(1)).zip(products.chunks_exact((2 * hidden).max(1)))
        {
            add(&mut sums[..2 * hidden], products);
            self.gru_gates(sums);
        }
        if self.shape.linear_before_reset {
            T::multiply(of_hidden, h, rest);
        } else {
            // The room of the first products serves for the state times the reset gate.
            let reset_state = &mut products[..hidden * rows.len()];
            for ((out, sums), h) in reset_state
                .chunks_exact_mut(hidden.max(1))
                .zip(sums.chunks_exact((3 * hidden).max(1)))
                .zip(h.chunks_exact(hidden.max(1)))
            {
                for ((out, &reset), &h) in out.iter_mut().zip(&sums[hidden..2 * hidden]).zip(h) {
                    *out = reset * h;
                }
            }
            T::multiply(of_hidden, reset_state, rest);
        }
        for ((row, sums), recurrent) in
            rows.iter_mut().zip(sums.chunks_exact_mut((3 * hidden).max(1))).zip(rest.chunks_exact(hidden.max(1)))
        {
            if row.active {
                self.gru(sums, recurrent, row.h);
            }
        }
    }
}

/// A row's states, and whether its sequence goes on at this step.
struct Row<'a, T> {
    active: bool,
    h: &'a mut [T],
    c: &'a mut [T],
}

/// States that are given; `None` is zeros.
pub(super) struct States<'a, T: Clone> {
    pub(super) h: Option<Cow<'a, [T]>>,
    pub(super) c: Option<Cow<'a, [T]>>,
}

/// All that a layer computes, in the layout's order.
pub(super) struct Results<T> {
    pub(super) sequence: Vec<T>,
    pub(super) h: Vec<T>,
    pub(super) c: Vec<T>,
}

/// One call of a layer.
pub(super) struct Run<'a, T: Real> {
    pub(super) x: &'a [T],
    pub(super) time: usize,
    pub(super) batch: usize,
    pub(super) features: usize,
    pub(super) layout: Layout,
    /// Of each row's sequence.
    pub(super) lengths: Option<&'a [i64]>,
    pub(super) initial: &'a States<'a, T>,
}

impl<T: Real> Run<'_, T> {
    /// Every direction.
    pub(super) fn all(&self, directions: &[Direction<T>]) -> TractResult<Results<T>> {
        let hidden = directions.first().map_or(0, |direction| direction.shape.hidden);
        let states = room(self.batch, directions.len() * hidden)?;
        let sequence = room(states, self.time)?;
        for given in [&self.initial.h, &self.initial.c].into_iter().flatten() {
            ensure!(given.len() == states, "an initial state has {} values, expected {states}", given.len());
        }
        if let Some(lengths) = self.lengths {
            let fits = |&length: &i64| usize::try_from(length).is_ok_and(|length| length <= self.time);
            ensure!(lengths.len() == self.batch, "{} lengths for {} rows", lengths.len(), self.batch);
            if let Some(row) = lengths.iter().position(|length| !fits(length)) {
                let message = format!("a sequence of length {} among {} steps", lengths[row], self.time);
                return Err(crate::ops::invalid::invalid(LENGTHS, Some(row), message));
            }
        }
        let zeros = |size| vec![T::zero(); size];
        let mut results = Results { sequence: zeros(sequence), h: zeros(states), c: zeros(states) };
        for (index, direction) in directions.iter().enumerate() {
            ensure!(
                direction.shape.features == self.features,
                "{} features, expected {}",
                self.features,
                direction.shape.features
            );
            self.one(direction, index, directions.len(), &mut results)?;
        }
        Ok(results)
    }

    fn length(&self, row: usize) -> usize {
        let length = self.lengths.and_then(|lengths| lengths.get(row)).and_then(|&length| usize::try_from(length).ok());
        length.unwrap_or(self.time)
    }

    /// Where a row's state of a direction begins.
    fn state_at(&self, row: usize, index: usize, count: usize, hidden: usize) -> usize {
        hidden
            * match self.layout {
                Layout::TimeFirst => index * self.batch + row,
                Layout::BatchFirst => row * count + index,
            }
    }

    /// Where a row's step is among all steps of all rows.
    fn step_at(&self, row: usize, step: usize) -> usize {
        match self.layout {
            Layout::TimeFirst => step * self.batch + row,
            Layout::BatchFirst => row * self.time + step,
        }
    }

    /// Where a row's step of a direction is among those of the result.
    fn result_at(&self, row: usize, step: usize, index: usize, count: usize) -> usize {
        match self.layout {
            Layout::TimeFirst => (step * count + index) * self.batch + row,
            Layout::BatchFirst => (row * self.time + step) * count + index,
        }
    }

    /// One direction, into its part of the results.
    fn one(&self, direction: &Direction<T>, index: usize, count: usize, results: &mut Results<T>) -> TractResult<()> {
        let (hidden, gates) = (direction.shape.hidden, direction.shape.kind.gates());
        let (width, batch) = (gates * hidden, self.batch);
        let zeros = |size| vec![T::zero(); size];
        let mut products = zeros(room(batch * self.time, width)?);
        direction.multiply_input(self.x, &mut products);
        let (mut h, mut c) = (zeros(batch * hidden), zeros(batch * hidden));
        for row in 0..batch {
            let from = self.state_at(row, index, count, hidden);
            let own = row * hidden..(row + 1) * hidden;
            if let Some(given) = &self.initial.h {
                h[own.clone()].copy_from_slice(&given[from..from + hidden]);
            }
            if let Some(given) = &self.initial.c {
                c[own].copy_from_slice(&given[from..from + hidden]);
            }
        }
        let (mut sums, mut of_state, mut before) = (zeros(batch * width), zeros(batch * width), h.clone());
        for step in 0..self.time {
            // Back in time, each row begins at its own end.
            let at = |row: usize| match (step < self.length(row), direction.reverse) {
                (false, _) => None,
                (true, false) => Some(step),
                (true, true) => Some(self.length(row) - 1 - step),
            };
            for row in 0..batch {
                let from = at(row).map_or(0, |step| self.step_at(row, step)) * width;
                sums[row * width..(row + 1) * width].copy_from_slice(&products[from..from + width]);
            }
            before.copy_from_slice(&h);
            let states = h.chunks_exact_mut(hidden.max(1)).zip(c.chunks_exact_mut(hidden.max(1))).enumerate();
            let mut rows: Vec<_> = states.map(|(row, (h, c))| Row { active: at(row).is_some(), h, c }).collect();
            direction.step(&mut sums, &mut of_state, &mut rows, &before);
            for row in 0..batch {
                if let Some(step) = at(row) {
                    let to = self.result_at(row, step, index, count) * hidden;
                    results.sequence[to..to + hidden].copy_from_slice(&h[row * hidden..(row + 1) * hidden]);
                }
            }
        }
        // A sequence without steps ends with zeros, whatever it began with.
        for row in (0..batch).filter(|&row| self.length(row) > 0) {
            let to = self.state_at(row, index, count, hidden);
            results.h[to..to + hidden].copy_from_slice(&h[row * hidden..(row + 1) * hidden]);
            results.c[to..to + hidden].copy_from_slice(&c[row * hidden..(row + 1) * hidden]);
        }
        Ok(())
    }
}
