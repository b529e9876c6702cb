//! Tensors as slices and back.

use std::borrow::Cow;

use tract_onnx::tract_hir::internal::*;

/// The values of a tensor, cast where they are of another type.
pub(super) fn values<T: Datum + Copy>(tensor: &Tensor) -> TractResult<Cow<'_, [T]>> {
    if tensor.datum_type() == T::datum_type() {
        return Ok(Cow::Borrowed(tensor.try_as_plain_ram()?.as_slice::<T>()?));
    }
    // From texts, numbers are read elsewhere; a wrong type in a graph is no value to parse.
    ensure!(tensor.datum_type() != String::datum_type(), "expected numbers, got texts");
    Ok(Cow::Owned(tensor.cast_to::<T>()?.try_as_plain_ram()?.as_slice::<T>()?.to_vec()))
}

/// The texts of a tensor.
pub(super) fn strings(tensor: &Tensor) -> TractResult<&[String]> {
    ensure!(tensor.datum_type() == String::datum_type(), "expected texts, got {:?}", tensor.datum_type());
    tensor.try_as_plain_ram()?.as_slice::<String>()
}

/// A tensor of this shape around values.
pub(super) fn tensor<T: Datum>(shape: &[usize], values: Vec<T>) -> TractResult<TValue> {
    Ok(Tensor::from(tract_ndarray::ArrayD::from_shape_vec(shape, values)?).into())
}

/// Values in one result: a gigabyte of singles. A small file may ask for many columns, and a request has many rows.
const MOST_VALUES: usize = 1 << 28;

/// The values of a result of this many rows, or an error if they are too many.
pub(super) fn room(rows: usize, columns: usize) -> TractResult<usize> {
    let values = rows.checked_mul(columns).filter(|&values| values <= MOST_VALUES);
    values.with_context(|| format!("{rows} rows of {columns} columns are more than {MOST_VALUES} values"))
}

/// Whether it is a type of numbers, dimensions included.
pub(super) fn is_numeric(datum: DatumType) -> bool {
    datum.is_number() || datum == TDim::datum_type() || datum == bool::datum_type()
}
