//! Whether sizes are equal, where some of them are symbols: true, false, or not known before the sizes are.
//!
//! The engine's own operator says that a symbol is never equal to a number, and so takes the wrong branch of a graph for
//! the one size that the branch is there for.

use tract_onnx::tract_hir::internal::*;
use tract_onnx::tract_hir::ops::binary::InferenceBinOp;
use tract_onnx::tract_hir::tract_core::broadcast::multi_broadcast;
use tract_onnx::tract_hir::tract_core::ops::binary::BinMiniOp;
use tract_onnx::tract_hir::tract_core::ops::logic::CompEq;

/// The engine's operator but for symbols.
pub(super) fn equality() -> Box<dyn Expansion> {
    Box::new(InferenceBinOp(Box::new(Equality)))
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Equality;

impl BinMiniOp for Equality {
    fn name(&self) -> &'static str {
        "Eq"
    }

    fn result_datum_type(&self, a: DatumType, b: DatumType) -> TractResult<DatumType> {
        CompEq.result_datum_type(a, b)
    }

    fn is_commutative(&self) -> bool {
        CompEq.is_commutative()
    }

    fn eval_in_a(&self, a: &mut Tensor, b: &Tensor) -> TractResult<()> {
        CompEq.eval_in_a(a, b)
    }

    fn eval_out_of_place(&self, c: &mut Tensor, a: &Tensor, b: &Tensor) -> TractResult<()> {
        CompEq.eval_out_of_place(c, a, b)
    }

    fn eval(&self, a: TValue, b: TValue, c_dt: DatumType) -> TractResult<Tensor> {
        CompEq.eval(a, b, c_dt)
    }

    fn eval_symbolic(&self, context: &EvalContext<'_>, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        if inputs.iter().all(|input| input.datum_type() != TDim::datum_type()) {
            return Ok(None);
        }
        let sizes = |input: &TValue| -> TractResult<_> {
            let sizes = input.cast_to::<TDim>()?;
            let sizes = sizes.to_plain_array_view::<TDim>()?.map(|size| size.eval(context.symbols));
            Ok(sizes)
        };
        let (one, other) = (sizes(&inputs[0])?, sizes(&inputs[1])?);
        let shape = multi_broadcast(&[one.shape(), other.shape()])?;
        let spread = |sizes: &tract_ndarray::ArrayD<TDim>| sizes.broadcast(&*shape).map(|sizes| sizes.to_owned());
        let (Some(one), Some(other)) = (spread(&one), spread(&other)) else { bail!("sizes of other shapes") };
        let equal = one.iter().zip(&other).map(|(one, other)| are_equal(one, other));
        let equal = tract_ndarray::ArrayD::from_shape_vec(&*shape, equal.collect::<TractResult<Vec<_>>>()?)?;
        Ok(Some(tvec!(Tensor::from(equal).into_tvalue())))
    }

    fn uniform_tdim_comparison(&self, a: &TDim, b: &TDim) -> Option<TDim> {
        CompEq.uniform_tdim_comparison(a, b)
    }
}

fn are_equal(one: &TDim, other: &TDim) -> TractResult<bool> {
    let difference = one.clone() - other;
    // No size is below one: graphs compare with -1 and 0 where these stand for "any" and "as it was".
    let is_no_size = |dim: &TDim| dim.to_i64().is_ok_and(|dim| dim <= 0);
    if is_no_size(one) != is_no_size(other) {
        return Ok(false);
    }
    // An error that the engine takes for "not yet".
    Ok(difference.to_i64()? == 0)
}
