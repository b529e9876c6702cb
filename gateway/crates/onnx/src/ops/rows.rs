//! Tensors as rows that an operator goes through one by one: what lies along some axes, together.

use tract_onnx::tract_hir::internal::*;

/// An axis of a tensor of that many dimensions; negative ones count from the end.
pub(super) fn axis(axis: i64, rank: usize) -> TractResult<usize> {
    let wanted = if axis < 0 { axis + rank as i64 } else { axis };
    let found = usize::try_from(wanted).ok().filter(|&axis| axis < rank);
    found.with_context(|| format!("no axis {axis} in {rank} dimensions"))
}

/// Values with some axes moved to the end, so that what lies along them is in rows. Borrowed where they are there already.
pub(super) fn gathered<'a, T: Datum + Copy>(
    values: &'a [T],
    shape: &[usize],
    axes: &[usize],
) -> TractResult<Cow<'a, [T]>> {
    let kept = (0..shape.len()).filter(|axis| !axes.contains(axis));
    let order: Vec<usize> = kept.chain(axes.iter().copied()).collect();
    let sized = order.iter().copied().filter(|&axis| shape[axis] != 1);
    if sized.is_sorted() {
        return Ok(Cow::Borrowed(values));
    }
    let view = tract_ndarray::ArrayViewD::from_shape(shape, values)?.permuted_axes(order);
    Ok(Cow::Owned(view.iter().copied().collect()))
}

/// The reverse: values in rows along some axes, put back in a tensor's order.
pub(super) fn scattered<T: Datum + Copy>(values: Vec<T>, shape: &[usize], axes: &[usize]) -> TractResult<Vec<T>> {
    let kept = (0..shape.len()).filter(|axis| !axes.contains(axis));
    let order: Vec<usize> = kept.chain(axes.iter().copied()).collect();
    if order.is_sorted() {
        return Ok(values);
    }
    let moved: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(index, &axis)| back[axis] = index);
    let view = tract_ndarray::ArrayViewD::from_shape(moved, &values)?.permuted_axes(back);
    Ok(view.iter().copied().collect())
}
