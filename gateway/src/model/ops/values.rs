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
pub(super) fn texts(tensor: &Tensor) -> TractResult<&[String]> {
    ensure!(tensor.datum_type() == String::datum_type(), "expected texts, got {:?}", tensor.datum_type());
    tensor.try_as_plain_ram()?.as_slice::<String>()
}

/// A tensor of this shape around values.
pub(super) fn tensor<T: Datum>(shape: &[usize], values: Vec<T>) -> TractResult<TValue> {
    Ok(Tensor::from(tract_ndarray::ArrayD::from_shape_vec(shape, values)?).into())
}

/// Whether it is a type of numbers, dimensions included.
pub(super) fn is_numeric(datum: DatumType) -> bool {
    datum.is_number() || datum == TDim::datum_type() || datum == bool::datum_type()
}
