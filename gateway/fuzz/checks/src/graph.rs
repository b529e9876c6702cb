//! Graphs of one or two nodes, made of what the fuzzer says: near enough to what converters write to get past the first
//! check, and wrong anywhere.

use arbitrary::{Result, Unstructured};
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};

use crate::numbers::{NUMBERS, TEXTS};

const ML: &str = "ai.onnx.ml";

/// Operators with their domain and attributes: `i`, `f`, `s` for one value, `I`, `F`, `S` for a list, `t` for a tensor.
const OPERATORS: &[(&str, &str, &str)] = &[
    ("ArgMax", "", "axis:i keepdims:i select_last_index:i"),
    ("ArrayFeatureExtractor", ML, ""),
    ("Add", "", ""),
    ("Binarizer", ML, "threshold:f"),
    ("Cast", "", "to:i"),
    ("CategoryMapper", ML, "cats_int64s:I cats_strings:S default_int64:i default_string:s"),
    ("Einsum", "", "equation:s"),
    ("Equal", "", ""),
    ("FeatureVectorizer", ML, "inputdimensions:I"),
    ("Gemm", "", "alpha:f beta:f transA:i transB:i"),
    ("Imputer", ML, "imputed_value_floats:F imputed_value_int64s:I replaced_value_float:f replaced_value_int64:i"),
    (
        "LabelEncoder",
        ML,
        "classes_strings:S default_float:f default_int64:i default_string:s default_tensor:t keys_floats:F keys_int64s:I \
         keys_strings:S keys_tensor:t values_floats:F values_int64s:I values_strings:S values_tensor:t",
    ),
    (
        "LinearClassifier",
        ML,
        "classlabels_ints:I classlabels_strings:S coefficients:F intercepts:F multi_class:i post_transform:s",
    ),
    ("LinearRegressor", ML, "coefficients:F intercepts:F post_transform:s targets:i"),
    ("MatMul", "", ""),
    ("MatMulInteger", "", ""),
    ("Normalizer", ML, "norm:s"),
    ("OneHotEncoder", ML, "cats_int64s:I cats_strings:S zeros:i"),
    ("QLinearMatMul", "", ""),
    ("RegexFullMatch", "", "pattern:s"),
    ("Relu", "", ""),
    ("Reshape", "", "allowzero:i"),
    (
        "SVMClassifier",
        ML,
        "classlabels_ints:I classlabels_strings:S coefficients:F kernel_params:F kernel_type:s \
      post_transform:s prob_a:F prob_b:F rho:F support_vectors:F vectors_per_class:I",
    ),
    (
        "SVMRegressor",
        ML,
        "coefficients:F kernel_params:F kernel_type:s n_supports:i one_class:i post_transform:s rho:F \
      support_vectors:F",
    ),
    ("Scaler", ML, "offset:F scale:F"),
    ("Softmax", "", "axis:i"),
    ("StringConcat", "", ""),
    ("StringNormalizer", "", "case_change_action:s is_case_sensitive:i locale:s stopwords:S"),
    ("StringSplit", "", "delimiter:s maxsplit:i"),
    (
        "TfIdfVectorizer",
        "",
        "max_gram_length:i max_skip_count:i min_gram_length:i mode:s ngram_counts:I \
      ngram_indexes:I pool_int64s:I pool_strings:S weights:F",
    ),
    ("Tokenizer", "com.microsoft", "mark:i mincharnum:i pad_value:s separators:S tokenexp:s"),
    (
        "TreeEnsemble",
        ML,
        "aggregate_function:i leaf_targetids:I leaf_weights:t membership_values:t n_targets:i \
      nodes_falseleafs:I nodes_falsenodeids:I nodes_featureids:I nodes_missing_value_tracks_true:I nodes_modes:t \
      nodes_splits:t nodes_trueleafs:I nodes_truenodeids:I post_transform:i tree_roots:I",
    ),
    (
        "TreeEnsembleClassifier",
        ML,
        "base_values:F class_ids:I class_nodeids:I class_treeids:I class_weights:F \
      classlabels_int64s:I classlabels_strings:S nodes_falsenodeids:I nodes_featureids:I \
      nodes_missing_value_tracks_true:I nodes_modes:S nodes_nodeids:I nodes_treeids:I nodes_truenodeids:I nodes_values:F \
      post_transform:s",
    ),
    (
        "TreeEnsembleRegressor",
        ML,
        "aggregate_function:s base_values:F n_targets:i nodes_falsenodeids:I \
      nodes_featureids:I nodes_missing_value_tracks_true:I nodes_modes:S nodes_nodeids:I nodes_treeids:I \
      nodes_truenodeids:I nodes_values:F post_transform:s target_ids:I target_nodeids:I target_treeids:I target_weights:F",
    ),
    ("ZipMap", ML, "classlabels_int64s:I classlabels_strings:S"),
];

/// Texts that mean something to some attribute.
const WORDS: [&str; 24] = [
    "NONE",
    "SOFTMAX",
    "LOGISTIC",
    "SOFTMAX_ZERO",
    "PROBIT",
    "SUM",
    "AVERAGE",
    "MIN",
    "MAX",
    "LINEAR",
    "POLY",
    "RBF",
    "SIGMOID",
    "L1",
    "L2",
    "TF",
    "IDF",
    "TFIDF",
    "LOWER",
    "UPPER",
    "[a-z]+",
    "(\\w|Ö)*",
    "ij,jk->ik",
    "(",
];

const BRANCHES: [&str; 7] = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "LEAF"];

const WHOLE: [i64; 12] = [0, 1, 2, 3, -1, 4, 63, 255, 1 << 22, 1 << 40, i64::MAX, i64::MIN];

// Codes of types of tensors.
const TYPES: [i32; 8] = [1, 11, 7, 8, 6, 2, 3, 9];

/// An ONNX file.
pub(crate) fn model(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut graph = GraphProto::default();
    let count = bytes.int_in_range(1..=4)?;
    let mut last = Vec::new();
    for index in 0..count {
        last = node(bytes, &mut graph, index, &last)?;
    }
    graph.output = last.into_iter().map(|name| ValueInfoProto { name, ..ValueInfoProto::default() }).collect();
    let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
    let versions = [opset("", *bytes.choose(&[17, 9, 13, 20])?), opset(ML, *bytes.choose(&[3, 1, 5])?)];
    let opset_import = versions.into_iter().chain([opset("com.microsoft", 1)]).collect();
    Ok(ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..ModelProto::default() }.encode_to_vec())
}

/// Adds a node that may read what the one before gave; tells what it gives itself.
fn node(bytes: &mut Unstructured<'_>, graph: &mut GraphProto, index: usize, before: &[String]) -> Result<Vec<String>> {
    let &(op, domain, attributes) = bytes.choose(OPERATORS)?;
    // Lists of one node mostly have one length. Of trees: an odd one.
    let len = bytes.int_in_range(0..=3)? * 2 + 1;
    let mut node = NodeProto { op_type: op.to_owned(), domain: domain.to_owned(), ..NodeProto::default() };
    for attribute in attributes.split_ascii_whitespace() {
        let Some((name, kind)) = attribute.split_once(':') else { continue };
        if bytes.ratio(5, 6)? {
            node.attribute.push(self::attribute(bytes, name, kind, len)?);
        }
    }
    let usual = match op {
        "QLinearMatMul" => 8,
        "Gemm" => 3,
        "MatMul"
        | "MatMulInteger"
        | "Add"
        | "Equal"
        | "StringConcat"
        | "ArrayFeatureExtractor"
        | "Reshape"
        | "Einsum" => 2,
        _ => 1,
    };
    let inputs = if bytes.ratio(7, 8)? { usual } else { bytes.int_in_range(0..=3)? };
    for input in 0..inputs {
        let name = format!("x{index}_{input}");
        if input == 0
            && let Some(before) = before.first()
        {
            node.input.push(before.clone());
            continue;
        }
        if input > 0 && bytes.ratio(3, 4)? {
            let dims = if bytes.ratio(1, 2)? { vec![bytes.int_in_range(1..=4)?, len] } else { vec![len] };
            graph.initializer.push(tensor(bytes, &name, dims)?);
        } else {
            graph.input.push(rows(bytes, &name)?);
        }
        node.input.push(name);
    }
    for output in 0..bytes.int_in_range(1..=2)? {
        node.output.push(format!("y{index}_{output}"));
    }
    let outputs = node.output.clone();
    graph.node.push(node);
    Ok(outputs)
}

/// An input of some columns.
fn rows(bytes: &mut Unstructured<'_>, name: &str) -> Result<ValueInfoProto> {
    let width = dimension::Value::DimValue(bytes.int_in_range(1..=4)?);
    let dim = vec![Dimension::default(), Dimension { value: Some(width), ..Dimension::default() }];
    let tensor = type_proto::Tensor { elem_type: *bytes.choose(&TYPES[..5])?, shape: Some(TensorShapeProto { dim }) };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    Ok(ValueInfoProto { name: name.to_owned(), r#type: Some(kind), ..ValueInfoProto::default() })
}

fn tensor(bytes: &mut Unstructured<'_>, name: &str, dims: Vec<i64>) -> Result<TensorProto> {
    let count = dims.iter().product::<i64>();
    let data_type = *bytes.choose(&TYPES)?;
    let mut tensor = TensorProto { name: name.to_owned(), dims, data_type, ..TensorProto::default() };
    for _ in 0..count {
        match data_type {
            1 => tensor.float_data.push(number(bytes)? as f32),
            11 => tensor.double_data.push(number(bytes)?),
            7 => tensor.int64_data.push(whole(bytes)?),
            8 => tensor.string_data.push(bytes.choose(&TEXTS)?.as_bytes().to_vec()),
            _ => tensor.int32_data.push(whole(bytes)? as i32),
        }
    }
    if bytes.ratio(1, 16)? {
        tensor.dims.push(whole(bytes)?);
    }
    Ok(tensor)
}

fn number(bytes: &mut Unstructured<'_>) -> Result<f64> {
    bytes.choose(&NUMBERS).copied()
}

fn whole(bytes: &mut Unstructured<'_>) -> Result<i64> {
    // Mostly a small one.
    let end = if bytes.ratio(7, 8)? { 4 } else { WHOLE.len() };
    bytes.choose(&WHOLE[..end]).copied()
}

fn attribute(bytes: &mut Unstructured<'_>, name: &str, kind: &str, len: i64) -> Result<AttributeProto> {
    let mut attribute = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    let is_vote = ["class_", "target_", "leaf_"].iter().any(|start| name.starts_with(start));
    let usual = match name {
        "tree_roots" | "n_targets" => 1,
        _ if name.starts_with("leaf_") => 2 * len,
        _ if is_vote => len - len / 2,
        _ => len,
    };
    let len = if bytes.ratio(15, 16)? { len } else { bytes.int_in_range(0..=9)? };
    let count = if bytes.ratio(15, 16)? { usual } else { bytes.int_in_range(0..=9)? };
    let kind = match kind {
        "i" => {
            attribute.i = whole(bytes)?;
            AttributeType::Int
        }
        "f" => {
            attribute.f = number(bytes)? as f32;
            AttributeType::Float
        }
        "s" => {
            attribute.s = word(bytes)?.into();
            AttributeType::String
        }
        "I" => {
            let sane = bytes.ratio(7, 8)?;
            for index in 0..count {
                let usual = sane.then(|| usual_int(name, index, len)).flatten();
                attribute.ints.push(match usual {
                    Some(usual) if bytes.ratio(31, 32)? => usual,
                    _ => whole(bytes)?,
                });
            }
            AttributeType::Ints
        }
        "F" => {
            for _ in 0..count {
                attribute.floats.push(number(bytes)? as f32);
            }
            AttributeType::Floats
        }
        "S" => {
            for index in 0..count {
                let text = match name {
                    "nodes_modes" if index >= len / 2 && bytes.ratio(31, 32)? => "LEAF",
                    "nodes_modes" => bytes.choose(&BRANCHES)?,
                    _ => word(bytes)?,
                };
                attribute.strings.push(text.into());
            }
            AttributeType::Strings
        }
        _ => {
            let mut tensor = tensor(bytes, "", vec![count])?;
            // The modes of version 5 are bytes.
            if name == "nodes_modes" && bytes.ratio(15, 16)? {
                (tensor.data_type, tensor.raw_data) = (2, (0..count).map(|index| index as u8 % 7).collect());
            }
            attribute.t = Some(tensor);
            AttributeType::Tensor
        }
    };
    attribute.r#type = kind as i32;
    Ok(attribute)
}

fn word(bytes: &mut Unstructured<'_>) -> Result<&'static str> {
    if bytes.ratio(3, 4)? { bytes.choose(&WORDS).copied() } else { bytes.choose(&TEXTS).copied() }
}

/// The parts of a tree: nodes in the order of a heap, the later half leaves.
fn usual_int(name: &str, index: i64, len: i64) -> Option<i64> {
    Some(match name {
        "nodes_treeids" | "class_treeids" | "target_treeids" | "tree_roots" => 0,
        "nodes_nodeids" => index,
        "nodes_truenodeids" => 2 * index + 1,
        "nodes_falsenodeids" => 2 * index + 2,
        "class_nodeids" | "target_nodeids" => len / 2 + index,
        "nodes_featureids" | "class_ids" | "target_ids" | "leaf_targetids" => index % 2,
        "nodes_trueleafs" | "nodes_falseleafs" => i64::from(index > 0),
        _ => return None,
    })
}
