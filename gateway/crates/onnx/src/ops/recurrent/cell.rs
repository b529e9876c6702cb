//! One step of one row: from sums to a new state.

use super::kind::add;
use super::real::Real;
use super::sequence::Direction;

impl<T: Real> Direction<T> {
    /// Cuts sums to the bounds of the attribute `clip`.
    fn clip(&self, values: &mut [T]) {
        let Some(bound) = self.shape.clip.map(T::from_f32) else { return };
        for value in values {
            if *value > bound {
                *value = bound;
            } else if *value < -bound {
                *value = -bound;
            }
        }
    }

    fn gate(&self, activation: usize, values: &mut [T]) {
        self.clip(values);
        self.activations[activation].apply(values);
    }

    /// A step of an LSTM: `sums` has the products with the input and the state, in the order input, output, forget, cell.
    pub(super) fn lstm(&self, sums: &mut [T], h: &mut [T], c: &mut [T]) {
        let hidden = self.shape.hidden;
        let (input, rest) = sums.split_at_mut(hidden);
        let (output, rest) = rest.split_at_mut(hidden);
        let (forget, cell) = rest.split_at_mut(hidden);
        let (p_input, p_output, p_forget) = self.peepholes();
        add_products(input, p_input, c);
        add_products(forget, p_forget, c);
        self.gate(0, input);
        if self.shape.input_forget {
            for (forget, &input) in forget.iter_mut().zip(input.iter()) {
                *forget = T::one() - input;
            }
        } else {
            self.gate(0, forget);
        }
        self.gate(1, cell);
        for ((c, &forget), (&input, &cell)) in c.iter_mut().zip(forget.iter()).zip(input.iter().zip(cell.iter())) {
            *c = forget * *c + input * cell;
        }
        add_products(output, p_output, c);
        self.gate(0, output);
        h.copy_from_slice(c);
        // The cell is not cut.
        self.activations[2].apply(h);
        for (h, &output) in h.iter_mut().zip(output.iter()) {
            *h = output * *h;
        }
    }

    /// A step of a GRU whose sums of update and reset gate and of the hidden gate's input are in `sums`; `recurrent` has
    /// the hidden gate's product with the state, which is the state times the reset gate unless `linear_before_reset`.
    pub(super) fn gru(&self, sums: &mut [T], recurrent: &[T], h: &mut [T]) {
        let hidden = self.shape.hidden;
        let (update, rest) = sums.split_at_mut(hidden);
        let (reset, candidate) = rest.split_at_mut(hidden);
        if self.shape.linear_before_reset {
            for ((sum, &recurrent), &reset) in candidate.iter_mut().zip(recurrent).zip(reset.iter()) {
                *sum = *sum + reset * recurrent;
            }
        } else {
            add(candidate, recurrent);
        }
        self.gate(1, candidate);
        for ((h, &update), &candidate) in h.iter_mut().zip(update.iter()).zip(candidate.iter()) {
            *h = (T::one() - update) * candidate + update * *h;
        }
    }

    /// The gates that a GRU knows before its hidden gate's product: update and reset, the first two blocks of `sums`.
    pub(super) fn gru_gates(&self, sums: &mut [T]) {
        self.gate(0, &mut sums[..2 * self.shape.hidden]);
    }

    /// A step of a plain recurrent layer.
    pub(super) fn rnn(&self, sums: &mut [T], h: &mut [T]) {
        self.gate(0, sums);
        h.copy_from_slice(sums);
    }
}

/// Adds products; nothing where there are no factors.
fn add_products<T: Real>(sums: &mut [T], factors: &[T], others: &[T]) {
    for (sum, (&factor, &other)) in sums.iter_mut().zip(factors.iter().zip(others)) {
        *sum = *sum + factor * other;
    }
}
