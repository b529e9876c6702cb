//! The common part of operators that move values without looking at them.

use tract_onnx::tract_hir::internal::*;

use super::invalid::invalid;
use super::values::room;

/// A position that takes the filling value.
pub(super) const FILLING: usize = usize::MAX;

/// A tensor of this shape from blocks of `block` values: `positions` says which block of `data` each is, or
/// [`FILLING`]. `filling` is a single value, 0 or the empty text if it is not given.
pub(super) fn pick(
    data: &Tensor,
    positions: &[usize],
    block: usize,
    filling: Option<&Tensor>,
    shape: &[usize],
) -> TractResult<TValue> {
    room(positions.len(), block)?;
    let datum = data.datum_type();
    Ok(dispatch_datum!(pick_of(datum)(data, positions, block, filling, shape))?.into())
}

fn pick_of<T: Datum>(
    data: &Tensor,
    positions: &[usize],
    block: usize,
    filling: Option<&Tensor>,
    shape: &[usize],
) -> TractResult<Tensor> {
    let plain = data.try_as_plain_ram()?;
    let data = plain.as_slice::<T>()?;
    let filling = match filling {
        Some(tensor) => tensor.try_as_plain_ram()?.as_slice::<T>()?.first().cloned().context("a value is missing")?,
        None => T::default(),
    };
    let mut out = Vec::with_capacity(positions.len() * block);
    if block == 1 {
        out.extend(positions.iter().map(|&position| data.get(position).unwrap_or(&filling).clone()));
    } else {
        for &position in positions {
            match position.checked_mul(block).and_then(|start| data.get(start..start + block)) {
                Some(block) => out.extend_from_slice(block),
                None => out.extend(std::iter::repeat_n(&filling, block).cloned()),
            }
        }
    }
    Ok(tract_ndarray::ArrayD::from_shape_vec(shape, out)?.into())
}

/// An index into an axis of `size`, from its end if it is negative; the error tells of the operator's input number
/// `input`, whose value at `position` it is.
pub(super) fn index(value: i64, size: usize, input: usize, position: usize) -> TractResult<usize> {
    let from_start = if value < 0 { value.checked_add(size as i64) } else { Some(value) };
    let found = from_start.and_then(|value| usize::try_from(value).ok()).filter(|&value| value < size);
    found.ok_or_else(|| {
        let message = format!("index {value} is out of range: there are {size} entries");
        invalid(input, Some(position), message)
    })
}

/// An axis of a tensor of that rank, from the end if it is negative.
pub(super) fn axis(axis: i64, rank: usize) -> TractResult<usize> {
    let from_start = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    let found = usize::try_from(from_start).ok().filter(|&axis| axis < rank);
    found.with_context(|| format!("axis {axis} of a tensor of rank {rank}"))
}

/// The distance between neighbours along each axis.
pub(super) fn strides(shape: &[usize]) -> TVec<usize> {
    let mut strides = tvec!(1; shape.len());
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    strides
}

/// All coordinates of a shape in row-major order, each handed to `visit`.
pub(super) fn each_coordinate(shape: &[usize], mut visit: impl FnMut(&[usize]) -> TractResult<()>) -> TractResult<()> {
    if shape.contains(&0) {
        return Ok(());
    }
    let mut at: TVec<usize> = tvec!(0; shape.len());
    loop {
        visit(&at)?;
        let Some(axis) = (0..shape.len()).rev().find(|&axis| at[axis] + 1 < shape[axis]) else { return Ok(()) };
        at[axis] += 1;
        at[axis + 1..].fill(0);
    }
}

/// The positions that a tensor of shape `out` picks from one of shape `data`, axis by axis: `along` has for each axis
/// the index into `data` of each index of `out`, or [`FILLING`].
pub(super) fn positions(data: &[usize], along: &[Vec<usize>]) -> Vec<usize> {
    let mut positions = vec![0];
    for (&size, along) in data.iter().zip(along) {
        let mut next = Vec::with_capacity(positions.len() * along.len());
        for &position in &positions {
            next.extend(
                along.iter().map(|&index| {
                    if index == FILLING || position == FILLING { FILLING } else { position * size + index }
                }),
            );
        }
        positions = next;
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_picked_from_independently() {
        let along = [vec![1, 0, FILLING], vec![2, 0]];
        assert_eq!(positions(&[2, 3], &along), [5, 3, 2, 0, FILLING, FILLING]);
        assert_eq!(positions(&[], &[]), [0]);
        assert!(positions(&[2, 3], &[vec![], vec![1]]).is_empty());
    }

    #[test]
    fn indices_count_from_both_ends() {
        assert_eq!([0, 3, -1, -4].map(|value| index(value, 4, 0, 0).unwrap()), [0, 3, 3, 0]);
        assert!([4, -5, i64::MIN, i64::MAX].iter().all(|&value| index(value, 4, 0, 0).is_err()));
        assert!(index(0, 0, 0, 0).is_err());
    }

    #[test]
    fn coordinates_come_in_order() {
        let mut seen = Vec::new();
        each_coordinate(&[2, 2], |at| {
            seen.push((at[0], at[1]));
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [(0, 0), (0, 1), (1, 0), (1, 1)]);
    }
}
