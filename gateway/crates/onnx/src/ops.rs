//! Our own operators, put in tract's registry in place of its own or where it has none. One file each: a file gives an
//! [`Operator`], and [`OPERATORS`] lists it.

#![allow(clippy::wildcard_imports, reason = "operators need most of what tract offers to them")]

mod arithmetic;
mod attributes;
mod barrier;
mod binarizer;
mod branch;
mod compress;
mod conv_transpose;
mod decimal;
mod einsum;
mod elementwise;
mod equality;
mod extract;
mod feature_vectorizer;
mod fit;
mod fused_mlp;
mod gather;
mod imputer;
mod integer_conv;
mod invalid;
mod kernel;
mod kinds;
mod label;
mod label_encoder;
pub mod labels;
mod linear;
mod lookup;
mod non_zero;
mod normalised;
mod normalizer;
mod one_hot;
mod one_hot_depth;
mod pad;
mod pattern;
mod pick;
mod pool;
pub mod post;
mod q_linear_mat_mul;
mod quantize;
mod recurrent;
mod reduce;
mod regex_full_match;
mod resize;
mod reverse_sequence;
mod rows;
mod scaled_mat_mul;
mod scaler;
mod scatter;
mod settled;
mod shapes;
mod slice;
mod small_gemm;
mod softmax;
mod string_concat;
mod string_normalizer;
mod string_split;
mod strings;
mod svm;
mod tfidf_vectorizer;
mod tokenizer;
mod top_k;
mod tract_builtin;
pub mod tree;
mod values;
mod widened;
mod window;
mod zip_map;

use tract_onnx::Onnx;
use tract_onnx::pb::NodeProto;

pub(super) use self::arithmetic::restore;
pub(super) use self::branch::settle_branches;
pub(super) use self::fused_mlp::is_plain_gemm;
pub(super) use self::invalid::InvalidValue;
use self::kernel::Operator;
pub(super) use self::kernel::{KernelOp, OWN};

const OPERATORS: &[Operator] = &[
    arithmetic::ADDITION,
    arithmetic::BIT_SHIFT,
    arithmetic::CLIP,
    arithmetic::DIVISION,
    arithmetic::MAX,
    arithmetic::MEAN,
    arithmetic::MIN,
    arithmetic::MODULO,
    arithmetic::MULTIPLICATION,
    arithmetic::POWER,
    arithmetic::PRELU,
    arithmetic::RELU,
    arithmetic::SUBTRACTION,
    arithmetic::SUM,
    binarizer::OPERATOR,
    branch::OPERATOR,
    compress::OPERATOR,
    conv_transpose::OPERATOR,
    einsum::OPERATOR,
    elementwise::ABS,
    elementwise::ACOS,
    elementwise::ACOSH,
    elementwise::ASIN,
    elementwise::ASINH,
    elementwise::ATAN,
    elementwise::ATANH,
    elementwise::BIAS_GELU,
    elementwise::CEIL,
    elementwise::CELU,
    elementwise::COS,
    elementwise::COSH,
    elementwise::ELU,
    elementwise::ERF,
    elementwise::EXP,
    elementwise::FAST_GELU,
    elementwise::FLOOR,
    elementwise::GELU,
    elementwise::HARD_SIGMOID,
    elementwise::HARD_SWISH,
    elementwise::LEAKY_RELU,
    elementwise::LOG,
    elementwise::MICROSOFT_GELU,
    elementwise::MISH,
    elementwise::NEG,
    elementwise::PARAMETRIC_SOFTPLUS,
    elementwise::QUICK_GELU,
    elementwise::RECIPROCAL,
    elementwise::ROUND,
    elementwise::SCALED_TANH,
    elementwise::SELU,
    elementwise::SHRINK,
    elementwise::SIGMOID,
    elementwise::SIGN,
    elementwise::SIN,
    elementwise::SINH,
    elementwise::SOFTPLUS,
    elementwise::SOFTSIGN,
    elementwise::SQRT,
    elementwise::SWISH,
    elementwise::TAN,
    elementwise::TANH,
    elementwise::THRESHOLDED_RELU,
    extract::OPERATOR,
    feature_vectorizer::OPERATOR,
    gather::ELEMENTS,
    gather::GATHER,
    gather::ND,
    imputer::OPERATOR,
    integer_conv::CONV_INTEGER,
    integer_conv::Q_LINEAR_CONV,
    kinds::IS_INF,
    kinds::IS_NAN,
    label::OPERATOR,
    label_encoder::CATEGORY_MAPPER,
    label_encoder::LABEL_ENCODER,
    fused_mlp::GEMM,
    fused_mlp::LAYERS,
    fused_mlp::MAT_MUL,
    linear::CLASSIFIER,
    linear::REGRESSOR,
    non_zero::OPERATOR,
    normalised::BATCH,
    normalised::GROUP,
    normalised::INSTANCE,
    normalised::LAYER,
    normalised::LP,
    normalised::LRN,
    normalised::MEAN_VARIANCE,
    normalised::RMS,
    normalised::SIMPLIFIED,
    normalised::SKIP,
    normalised::SKIP_SIMPLIFIED,
    normalizer::OPERATOR,
    one_hot::OPERATOR,
    one_hot_depth::OPERATOR,
    barrier::MAT_MUL_INTEGER,
    pad::OPERATOR,
    pool::AVERAGE,
    pool::GLOBAL_LP,
    pool::GLOBAL_MAX,
    pool::LP,
    pool::MAX,
    q_linear_mat_mul::OPERATOR,
    quantize::DEQUANTIZE,
    quantize::DYNAMIC,
    quantize::QUANTIZE,
    recurrent::DYNAMIC_QUANTIZE_LSTM,
    recurrent::GRU,
    recurrent::LSTM,
    recurrent::RNN,
    reduce::ARG_MAX,
    reduce::ARG_MIN,
    reduce::L1,
    reduce::L2,
    reduce::LOG_SUM,
    reduce::LOG_SUM_EXP,
    reduce::MAX,
    reduce::MEAN,
    reduce::MIN,
    reduce::PROD,
    reduce::SUM,
    reduce::SUM_SQUARE,
    regex_full_match::OPERATOR,
    resize::RESIZE,
    resize::UPSAMPLE,
    reverse_sequence::OPERATOR,
    scaled_mat_mul::DYNAMIC,
    scaled_mat_mul::TO_FLOAT,
    scaler::OPERATOR,
    scatter::ELEMENTS,
    scatter::ND,
    scatter::SCATTER,
    shapes::CONSTANT_OF_SHAPE,
    shapes::GRID_SAMPLE,
    shapes::NON_MAX_SUPPRESSION,
    shapes::SQUEEZE,
    shapes::TILE,
    slice::OPERATOR,
    softmax::HARDMAX,
    softmax::LOG_SOFTMAX,
    softmax::SOFTMAX,
    string_concat::OPERATOR,
    string_normalizer::OPERATOR,
    string_split::OPERATOR,
    svm::CLASSIFIER,
    svm::REGRESSOR,
    strings::CAST,
    strings::EQUAL,
    tfidf_vectorizer::OPERATOR,
    tokenizer::OPERATOR,
    top_k::OPERATOR,
    tree::CLASSIFIER,
    tree::ENSEMBLE,
    tree::REGRESSOR,
    widened::CONV,
    widened::CUM_SUM,
    widened::GLOBAL_AVERAGE,
    zip_map::OPERATOR,
];

/// Adds our operators; they override tract's.
pub(super) fn register(onnx: &mut Onnx) {
    for operator in OPERATORS {
        onnx.op_register.insert(operator.name, operator.build);
    }
}

/// The reason why a node cannot be built: an operator or an attribute that is not known, or an input that is not there.
pub(super) fn problem(node: &NodeProto) -> Option<String> {
    let domain = if node.domain == "ai.onnx" { "" } else { node.domain.as_str() };
    let name = if domain.is_empty() { node.op_type.clone() } else { format!("{domain}.{}", node.op_type) };
    let mut named = OPERATORS.iter().filter(|operator| operator.name == node.op_type).peekable();
    if named.peek().is_none() {
        let known = tract_builtin::COMPARED.iter().find(|(builtin, _)| domain.is_empty() && *builtin == node.op_type);
        let Some((_, attributes)) = known else { return Some(name) };
        // tract takes the length for that of the signal.
        if node.op_type == "DFT" && node.input.get(1).is_some_and(|length| !length.is_empty()) {
            return Some("DFT of another length than the signal's".into());
        }
        return unknown_attribute(node, attributes, &name);
    }
    // What we make ourselves is not for files to ask for.
    let Some(operator) = named.find(|operator| operator.domain == domain && operator.domain != OWN) else {
        return Some(name);
    };
    // All of them take one, and read it before they look at anything else.
    if node.input.first().is_none_or(String::is_empty) {
        return Some(format!("{name} without its first input"));
    }
    unknown_attribute(node, operator.attributes, &name)
}

fn unknown_attribute(node: &NodeProto, known: &[&str], name: &str) -> Option<String> {
    let unknown = node.attribute.iter().find(|attribute| !known.contains(&attribute.name.as_str()))?;
    Some(format!("attribute '{}' of {name}", unknown.name))
}

#[cfg(test)]
mod tests {
    use super::{OPERATORS, kernel, tract_builtin};

    /// The table of the differential test has a line for each operator that a file may use.
    #[test]
    fn every_operator_is_compared_with_onnx_runtime() {
        // Every graph of the test has constants; what ZipMap gives is no tensor, and stands in the conformance matrix.
        const ELSEWHERE: [&str; 2] = ["ai.onnx.ml.ZipMap", "Constant"];
        let table = include_str!("../DIFFERENTIAL.md");
        let ours = OPERATORS.iter().filter(|operator| operator.domain != kernel::OWN);
        let ours = ours.map(|operator| match operator.domain {
            "" => operator.name.to_owned(),
            domain => format!("{domain}.{}", operator.name),
        });
        let names = ours.chain(tract_builtin::COMPARED.iter().map(|&(name, _)| name.to_owned()));
        let missing: Vec<String> = names.filter(|name| !table.contains(&format!("\n| {name} |"))).collect();
        assert_eq!(missing, ELSEWHERE);
    }
}
