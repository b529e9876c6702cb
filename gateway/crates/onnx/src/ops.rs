//! Our own operators, put in tract's registry in place of its own or where it has none. One file each: a file gives an
//! [`Operator`], and [`OPERATORS`] lists it.

#![allow(clippy::wildcard_imports, reason = "operators need most of what tract offers to them")]

mod attributes;
mod binarizer;
mod decimal;
mod dense;
mod extract;
mod feature_vectorizer;
mod imputer;
mod kernel;
mod label;
mod label_encoder;
pub mod labels;
mod layers;
mod linear;
mod lookup;
mod normalizer;
mod one_hot;
mod opaque;
mod pattern;
pub mod post;
mod q_linear_mat_mul;
mod regex_full_match;
mod scaler;
mod stock;
mod string_concat;
mod string_normalizer;
mod string_split;
mod svm;
mod texts;
mod tfidf_vectorizer;
mod tokenizer;
pub mod tree;
mod values;
mod zip_map;

use tract_onnx::Onnx;
use tract_onnx::pb::NodeProto;

use self::kernel::Operator;
pub(super) use self::kernel::{KernelOp, OWN};
pub(super) use self::layers::is_plain_gemm;

const OPERATORS: [Operator; 32] = [
    binarizer::OPERATOR,
    extract::OPERATOR,
    feature_vectorizer::OPERATOR,
    imputer::OPERATOR,
    label_encoder::CATEGORY_MAPPER,
    label_encoder::LABEL_ENCODER,
    label::OPERATOR,
    layers::GEMM,
    layers::LAYERS,
    layers::MAT_MUL,
    linear::CLASSIFIER,
    linear::REGRESSOR,
    normalizer::OPERATOR,
    one_hot::OPERATOR,
    opaque::EINSUM,
    opaque::MAT_MUL_INTEGER,
    q_linear_mat_mul::OPERATOR,
    regex_full_match::OPERATOR,
    scaler::OPERATOR,
    string_concat::OPERATOR,
    string_normalizer::OPERATOR,
    string_split::OPERATOR,
    svm::CLASSIFIER,
    svm::REGRESSOR,
    texts::CAST,
    texts::EQUAL,
    tfidf_vectorizer::OPERATOR,
    tokenizer::OPERATOR,
    tree::CLASSIFIER,
    tree::ENSEMBLE,
    tree::REGRESSOR,
    zip_map::OPERATOR,
];

/// Adds our operators; they override tract's.
pub(super) fn register(onnx: &mut Onnx) {
    for operator in OPERATORS {
        onnx.op_register.insert(operator.name, operator.build);
    }
}

/// What keeps a node from being built: a domain or an attribute that nobody knows.
pub(super) fn problem(onnx: &Onnx, node: &NodeProto) -> Option<String> {
    let domain = if node.domain == "ai.onnx" { "" } else { node.domain.as_str() };
    let name = if domain.is_empty() { node.op_type.clone() } else { format!("{domain}.{}", node.op_type) };
    let Some(operator) = OPERATORS.iter().find(|operator| operator.name == node.op_type) else {
        let known = ["", "com.microsoft", kernel::ML].contains(&domain);
        return (!known || !onnx.op_register.0.contains_key(&node.op_type)).then_some(name);
    };
    // What we make ourselves is not for files to ask for.
    if operator.domain != domain || operator.domain == OWN {
        return Some(name);
    }
    let unknown = node.attribute.iter().find(|attribute| !operator.attributes.contains(&attribute.name.as_str()))?;
    Some(format!("attribute '{}' of {name}", unknown.name))
}
