//! Products of any number of factors, summed term by term.

use tract_onnx::tract_hir::internal::*;

use super::super::values::{room, tensor, values};
use super::equation::Letters;

pub(super) trait Number: Datum + Copy {
    fn one() -> Self;
    fn zero() -> Self;
    fn times(self, other: Self) -> Self;
    fn plus(self, other: Self) -> Self;

    /// The result for inputs, cast to this type.
    fn sum(letters: &Letters, inputs: &[TValue]) -> TractResult<TValue> {
        let factors = inputs.iter().map(|input| values::<Self>(input)).collect::<TractResult<Vec<_>>>()?;
        // Letters of the result first, then those that are summed over.
        let mut order = letters.output.clone();
        for letter in letters.inputs.iter().flatten() {
            if !order.contains(letter) {
                order.push(*letter);
            }
        }
        let mut sizes = vec![1; order.len()];
        let mut strides = vec![vec![0; order.len()]; inputs.len()];
        for ((input, letters), strides) in inputs.iter().zip(&letters.inputs).zip(&mut strides) {
            let mut stride = 1;
            for (&letter, &size) in letters.iter().zip(input.shape()).rev() {
                let at = order.iter().position(|&other| other == letter).context("a letter without place")?;
                if size != 1 {
                    ensure!(sizes[at] == 1 || sizes[at] == size, "'{letter}' is {} and {size}", sizes[at]);
                    sizes[at] = size;
                    strides[at] += stride;
                }
                stride *= size;
            }
        }
        // The diagonal of a result that names a letter twice.
        let kept = letters.output.len();
        let shape: Vec<usize> = letters
            .output
            .iter()
            .map(|letter| order.iter().position(|other| other == letter).map_or(1, |at| sizes[at]))
            .collect();
        let count = shape.iter().product::<usize>();
        let terms: usize = sizes[kept.min(sizes.len())..].iter().product();
        let mut out = Vec::with_capacity(room(1, count)?);
        let (mut index, mut at) = (vec![0; order.len()], vec![0; inputs.len()]);
        for _ in 0..count {
            let mut total = Self::zero();
            for _ in 0..terms {
                let product =
                    factors.iter().zip(&at).fold(Self::one(), |product, (factor, &at)| product.times(factor[at]));
                total = total.plus(product);
                advance(&mut index, kept..order.len(), &sizes, &strides, &mut at);
            }
            out.push(total);
            advance(&mut index, 0..kept, &sizes, &strides, &mut at);
        }
        tensor(&shape, out)
    }
}

/// Goes to the next place, the last of these letters first, and back to the first place after the last.
fn advance(
    index: &mut [usize],
    letters: std::ops::Range<usize>,
    sizes: &[usize],
    strides: &[Vec<usize>],
    at: &mut [usize],
) {
    for letter in letters.rev() {
        index[letter] += 1;
        if index[letter] < sizes[letter] {
            at.iter_mut().zip(strides).for_each(|(at, strides)| *at += strides[letter]);
            return;
        }
        index[letter] = 0;
        at.iter_mut().zip(strides).for_each(|(at, strides)| *at -= strides[letter] * (sizes[letter] - 1));
    }
}

macro_rules! numbers {
    ($($number:ident $zero:literal $one:literal $times:expr, $plus:expr;)*) => { $(
        impl Number for $number {
            fn one() -> Self {
                $one
            }
            fn zero() -> Self {
                $zero
            }
            fn times(self, other: Self) -> Self {
                let times: fn(Self, Self) -> Self = $times;
                times(self, other)
            }
            fn plus(self, other: Self) -> Self {
                let plus: fn(Self, Self) -> Self = $plus;
                plus(self, other)
            }
        }
    )* };
}
numbers! {
    f32 0.0 1.0 |one, other| one * other, |one, other| one + other;
    f64 0.0 1.0 |one, other| one * other, |one, other| one + other;
    i64 0 1 i64::wrapping_mul, i64::wrapping_add;
    u64 0 1 u64::wrapping_mul, u64::wrapping_add;
}
