//! Our own operators, put in tract's registry in place of its own or where it has none. One file each: a file gives a
//! builder, and [`register`] names it.

mod extract;
pub mod tree;

use tract_onnx::Onnx;

/// Adds our operators; they override tract's.
pub(super) fn register(onnx: &mut Onnx) {
    let ops = &mut onnx.op_register;
    ops.insert("ArrayFeatureExtractor", extract::array_feature_extractor);
    ops.insert("TreeEnsembleClassifier", tree::classifier);
}
