//! `QLinearMatMul`, which tract answers wrongly: products of bytes that stand for real numbers.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::kernel::{Kernel, Operator, Spec, built};
use super::values::{room, tensor, values};
use crate::rows::{Along, Flow, Inputs, MEETS, MIXES, Outcome};

pub(super) const OPERATOR: Operator = Operator {
    domain: "",
    name: "QLinearMatMul",
    attributes: &[],
    build: |_, node| built(node, Arc::new(QLinearMatMul)),
};

#[derive(Debug)]
struct QLinearMatMul;

impl Kernel for QLinearMatMul {
    fn name(&self) -> &'static str {
        "QLinearMatMul"
    }

    fn outputs(&self, inputs: &[Spec]) -> TractResult<TVec<Spec>> {
        let [a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero] = inputs else {
            bail!("expected 8 inputs, got {}", inputs.len());
        };
        for zero in [a_zero, b_zero, y_zero] {
            ensure!(is_byte(zero.datum), "zero points of {:?} are not supported", zero.datum);
        }
        ensure!(a.datum == a_zero.datum && b.datum == b_zero.datum, "a zero point is of another type than its values");
        ensure!(a.shape.len() >= 2 && b.shape.len() >= 2, "expected matrices");
        let [before_a @ .., rows, inner] = &a.shape[..] else { bail!("expected a matrix") };
        let [before_b @ .., other_inner, columns] = &b.shape[..] else { bail!("expected a matrix") };
        ensure!(inner == other_inner, "{inner} columns meet {other_inner} rows");
        // One scale for each column of the second is what exporters write besides a single one.
        for (what, one, zero) in [("a", a_scale, a_zero), ("b", b_scale, b_zero), ("y", y_scale, y_zero)] {
            let single = |spec: &Spec| spec.shape.iter().all(|dim| *dim == 1.to_dim());
            let by_column = |spec: &Spec| what == "b" && spec.shape[..] == [columns.clone()];
            let fits = [one, zero].iter().all(|spec| single(spec) || by_column(spec));
            ensure!(fits, "scales of {what} by row are not supported");
        }
        let mut shape = tract_core::broadcast::multi_broadcast(&[before_a, before_b])?;
        shape.extend([rows.clone(), columns.clone()]);
        Ok(tvec!(Spec { datum: y_zero.datum, shape }))
    }

    fn rows(&self, inputs: &Inputs<'_>) -> Outcome {
        let rank = |slot: usize| inputs.facts[slot].rank();
        let out = rank(0).max(rank(3));
        // Of the first matrix, its rows may be ours; else ours are the same ones of all that come before the matrices.
        match &*inputs.with_rows()? {
            [(0, along)] if along.axis + 1 < rank(0) => Ok(tvec!(along.on(along.axis + out - rank(0)))),
            [(0, one), (3, other)] => {
                let index = |along: &Along, slot: usize| along.on(along.axis + out - rank(slot));
                let (one, other) = (index(one, 0), index(other, 3));
                let before = matches!(&one, Flow::Rows(along) if along.axis + 2 < out);
                if one == other && before { Ok(tvec!(one)) } else { Err(MEETS.into()) }
            }
            _ => Err(MIXES.into()),
        }
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero] = inputs else { bail!("expected 8 inputs") };
        let (a_shape, b_shape) = (a.shape(), b.shape());
        let ([before_a @ .., rows, inner], [before_b @ .., _, columns]) = (a_shape, b_shape) else {
            bail!("expected matrices");
        };
        let (rows, inner, columns) = (*rows, *inner, *columns);
        let before = tract_core::broadcast::multi_broadcast(&[before_a, before_b])?;
        let (a_values, b_values) = (values::<i32>(a)?, values::<i32>(b)?);
        let a_zero = single::<i32>(a_zero)?;
        let (y_scale, y_zero_point) = (single::<f32>(y_scale)?, single::<i32>(y_zero)?);
        let a_scale = single::<f32>(a_scale)?;
        let (b_scale, b_zero) = (values::<f32>(b_scale)?, values::<i32>(b_zero)?);
        ensure!(!b_scale.is_empty() && !b_zero.is_empty(), "a scale is missing");
        let of_column = |column: usize, count: usize| if count == 1 { 0 } else { column };
        let (least, most) = if y_zero.datum_type() == i8::datum_type() { (-128.0, 127.0) } else { (0.0, 255.0) };
        let blocks: usize = before.iter().product();
        let mut out = Vec::with_capacity(room(blocks.saturating_mul(rows), columns)?);
        for block in 0..blocks {
            let a = start(block, &before, before_a) * rows * inner;
            let b = start(block, &before, before_b) * inner * columns;
            let (a, b) = (&a_values[a..a + rows * inner], &b_values[b..b + inner * columns]);
            for row in 0..rows {
                let row = &a[row * inner..(row + 1) * inner];
                for column in 0..columns {
                    let zero = b_zero.get(of_column(column, b_zero.len())).copied().unwrap_or(0);
                    let scale = b_scale.get(of_column(column, b_scale.len())).copied().unwrap_or(1.0);
                    let terms = row.iter().zip(b.iter().skip(column).step_by(columns));
                    let sum: i64 = terms.map(|(&a, &b)| i64::from(a - a_zero) * i64::from(b - zero)).sum();
                    let scaled = (sum as f32 * (a_scale * scale / y_scale)).round_ties_even();
                    out.push((scaled + y_zero_point as f32).clamp(least, most));
                }
            }
        }
        let shape: TVec<usize> = before.iter().copied().chain([rows, columns]).collect();
        Ok(tvec!(if y_zero.datum_type() == i8::datum_type() {
            tensor(&shape, out.into_iter().map(|value| value as i8).collect())?
        } else {
            tensor(&shape, out.into_iter().map(|value| value as u8).collect())?
        }))
    }
}

fn is_byte(datum: DatumType) -> bool {
    datum == i8::datum_type() || datum == u8::datum_type()
}

fn single<T: Datum + Copy>(tensor: &Tensor) -> TractResult<T> {
    values::<T>(tensor)?.first().copied().context("a scale or zero point is missing")
}

/// The place among matrices of shape `of` that the place `block` among those of shape `all` broadcasts from.
fn start(block: usize, all: &[usize], shape: &[usize]) -> usize {
    let (mut left, mut stride, mut index) = (block, 1, 0);
    for (back, &dim) in all.iter().rev().enumerate() {
        let at = left % dim;
        left /= dim;
        if let Some(&own) = shape.len().checked_sub(back + 1).and_then(|at| shape.get(at)) {
            if own != 1 {
                index += at * stride;
            }
            stride *= own;
        }
    }
    index
}

#[cfg(test)]
mod tests {
    use super::start;

    #[test]
    fn matrices_are_broadcast() {
        let indices: Vec<_> = (0..6).map(|block| start(block, &[2, 3], &[3])).collect();
        assert_eq!(indices, [0, 1, 2, 0, 1, 2]);
        let indices: Vec<_> = (0..6).map(|block| start(block, &[2, 3], &[2, 1])).collect();
        assert_eq!(indices, [0, 0, 0, 1, 1, 1]);
        assert_eq!(start(0, &[], &[]), 0);
    }
}
