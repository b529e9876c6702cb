//! tract's own operators: those that files may use, and what ours are made of that take over for some inputs only.

use std::sync::LazyLock;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

/// Operators of the standard that tract computes as ONNX Runtime does, with every attribute they know. tract has others,
/// which nobody compared or which draw random numbers; a file that uses one is refused, as is one with another attribute,
/// which tract would pass over.
pub(super) const COMPARED: &[(&str, &[&str])] = &[
    ("And", &[]),
    ("BitwiseAnd", &[]),
    ("BitwiseNot", &[]),
    ("BitwiseOr", &[]),
    ("BitwiseXor", &[]),
    ("BlackmanWindow", WINDOW),
    ("CastLike", &["saturate"]),
    ("Concat", &["axis"]),
    ("Constant", CONSTANT),
    ("DFT", &["axis", "inverse", "onesided"]),
    ("DepthToSpace", &["blocksize", "mode"]),
    ("Dropout", &["is_test", "ratio", "seed"]),
    ("Expand", &[]),
    ("EyeLike", &["dtype", "k"]),
    ("Flatten", &["axis"]),
    ("Greater", &[]),
    ("GreaterOrEqual", &[]),
    ("HammingWindow", WINDOW),
    ("HannWindow", WINDOW),
    ("Identity", &[]),
    ("Less", &[]),
    ("LessOrEqual", &[]),
    ("MelWeightMatrix", &["output_datatype"]),
    ("Not", &[]),
    ("Or", &[]),
    ("Range", &[]),
    ("Reshape", &["allowzero", "shape"]),
    ("STFT", &["onesided"]),
    ("Scan", SCAN),
    ("Shape", &["end", "start"]),
    ("Size", &[]),
    ("SpaceToDepth", &["blocksize", "mode"]),
    ("Split", &["axis", "num_outputs", "split"]),
    ("Transpose", &["perm"]),
    ("Trilu", &["upper"]),
    ("Unsqueeze", &["axes"]),
    ("Where", &[]),
    ("Xor", &[]),
];

const WINDOW: &[&str] = &["output_datatype", "periodic"];

const CONSTANT: &[&str] =
    &["value", "value_float", "value_floats", "value_int", "value_ints", "value_string", "value_strings"];

const SCAN: &[&str] = &[
    "body",
    "num_scan_inputs",
    "scan_input_axes",
    "scan_input_directions",
    "scan_output_axes",
    "scan_output_directions",
];

/// tract's own operator for a node.
pub(super) fn tract_builtin(ctx: &ParsingContext<'_>, node: &NodeProto) -> TractResult<Box<dyn Expansion>> {
    static TRACT: LazyLock<Onnx> = LazyLock::new(tract_onnx::onnx);
    let build = TRACT.op_register.0.get(&node.op_type).with_context(|| format!("no operator '{}'", node.op_type))?;
    let (op, _) = build(ctx, node)?;
    let expansion = op.as_op().downcast_ref::<Box<dyn Expansion>>().cloned();
    expansion.with_context(|| format!("'{}' is built otherwise", node.op_type))
}
