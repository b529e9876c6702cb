//! tract's own operators, where ours take over for some inputs only.

use std::sync::LazyLock;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// tract's own operator for a node.
pub(super) fn stock(ctx: &ParsingContext<'_>, node: &NodeProto) -> TractResult<Box<dyn Expansion>> {
    static STOCK: LazyLock<Onnx> = LazyLock::new(tract_onnx::onnx);
    let build = STOCK.op_register.0.get(&node.op_type).with_context(|| format!("no operator '{}'", node.op_type))?;
    let (op, _) = build(ctx, node)?;
    let expansion = op.as_op().downcast_ref::<Box<dyn Expansion>>().cloned();
    expansion.with_context(|| format!("'{}' is built otherwise", node.op_type))
}
