//! Properties that hold for any weights: a row's result does not know of the rows beside it, nor of the run before.

use super::activation::Activation;
use super::kind::Kind;
use super::sequence::{Direction, Layout, Run, Shape, States};

const TIME: usize = 6;
const FEATURES: usize = 5;
const HIDDEN: usize = 37;

/// Numbers between -1 and 1, without a pattern.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn direction(kind: Kind, reverse: bool, linear_before_reset: bool) -> Direction<f32> {
    let shape =
        Shape { kind, features: FEATURES, hidden: HIDDEN, clip: None, input_forget: false, linear_before_reset };
    let outputs = kind.gates() * HIDDEN;
    let weights = (numbers(outputs * FEATURES, 1), numbers(outputs * HIDDEN, 2));
    let activations: Vec<Activation> = kind.activations().to_vec();
    let bias = numbers(2 * outputs, 3);
    Direction::new(shape, reverse, activations, (&weights.0, &weights.1), &bias, vec![]).unwrap()
}

/// The bits of all results of rows `x`, batch first.
fn bits(direction: &Direction<f32>, x: &[f32], lengths: &[i64]) -> Vec<u32> {
    let (h, c) = (None, None);
    let initial = States { h, c };
    let run = Run {
        x,
        time: TIME,
        batch: lengths.len(),
        features: FEATURES,
        layout: Layout::BatchFirst,
        lengths: Some(lengths),
        initial: &initial,
    };
    let results = run.all(std::slice::from_ref(direction)).unwrap();
    let rows = results.sequence.chunks(TIME * HIDDEN).zip(results.h.chunks(HIDDEN));
    rows.flat_map(|(sequence, h)| sequence.iter().chain(h)).map(|value| value.to_bits()).collect()
}

#[test]
fn a_row_has_the_same_bits_in_any_batch() {
    for kind in [Kind::Lstm, Kind::Gru, Kind::Rnn] {
        for reverse in [false, true] {
            for linear_before_reset in [false, true] {
                let direction = direction(kind, reverse, linear_before_reset);
                for batch in [1, 2, 3, 7, 16] {
                    let mut x = numbers(batch * TIME * FEATURES, 4);
                    // What breaks others must not break their neighbours.
                    x[0] = f32::NAN;
                    let lengths: Vec<i64> = (0..batch as i64).map(|row| TIME as i64 - row % 3).collect();
                    let together = bits(&direction, &x, &lengths);
                    let alone = x.chunks(TIME * FEATURES).zip(&lengths);
                    let alone: Vec<u32> = alone.flat_map(|(row, &length)| bits(&direction, row, &[length])).collect();
                    assert_eq!(together, alone, "{kind:?}, {batch} rows");
                    assert_eq!(together, bits(&direction, &x, &lengths), "{kind:?} again");
                }
            }
        }
    }
}
