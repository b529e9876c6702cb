//! The content of a graph, checked before anything is built from it.

use std::collections::BTreeMap;
use std::fmt::Write;

use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, ValueInfoProto, type_proto};
use tract_onnx::tract_hir::internal::InferenceModel;

use super::error::ModelError;
use super::failure::brief;
use super::interface::Declared;
use super::ops;
use super::tensors::ELEMENTS;

/// Refuses a graph that is over the limits or that needs operators nobody has; all of these in one message.
pub(super) fn check(model: &ModelProto, node_limit: usize) -> Result<&GraphProto, ModelError> {
    let graph = model.graph.as_ref().ok_or_else(|| ModelError::Corrupt("it has no graph".into()))?;
    let mut nodes = Vec::new();
    collect(graph, &mut nodes);
    if nodes.len() > node_limit {
        return Err(ModelError::TooLarge { what: "graph nodes", found: nodes.len(), limit: node_limit });
    }
    let mut unknown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in &nodes {
        if let Some(problem) = ops::problem(node) {
            unknown.entry(problem).or_default().push(node_name(node));
        }
    }
    if !unknown.is_empty() {
        return Err(ModelError::Unsupported(list(&unknown)));
    }
    check_shapes(graph, &nodes)?;
    for output in &graph.output {
        let known = |name: &str| {
            graph.input.iter().any(|input| input.name == name)
                || graph.initializer.iter().any(|tensor| tensor.name == name)
                || graph.node.iter().any(|node| node.output.iter().any(|output| output == name))
        };
        if !known(&output.name) {
            return Err(ModelError::Corrupt(format!("nothing gives its output '{}'", output.name)));
        }
    }
    Ok(graph)
}

/// The declaration of an output in a file.
pub(super) fn declared(output: &ValueInfoProto) -> Declared {
    let shape = match output.r#type.as_ref().and_then(|r#type| r#type.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor.shape.as_ref(),
        _ => None,
    };
    Declared { name: output.name.clone(), is_scalar: shape.is_some_and(|shape| shape.dim.is_empty()) }
}

/// Puts a node between each input or constant and the output that it is: the engine forgets the type of an input when it
/// reads an output of the same name.
pub(super) fn copy_inputs(graph: &mut GraphProto) {
    for (index, output) in graph.output.iter_mut().enumerate() {
        if graph.node.iter().any(|node| node.output.contains(&output.name)) {
            continue;
        }
        let copy = format!("modelgate_output_{index}");
        let input = std::mem::replace(&mut output.name, copy.clone());
        let node = NodeProto {
            op_type: "Identity".into(),
            name: copy.clone(),
            input: vec![input],
            output: vec![copy],
            ..NodeProto::default()
        };
        graph.node.push(node);
    }
}

/// The objections of the nodes' builders, in one message; nothing if there are none.
pub(super) fn objections(onnx: &Onnx, model: &ModelProto) -> Option<String> {
    let graph = model.graph.as_ref()?;
    let version = model.opset_import.iter().find(|opset| opset.domain.is_empty()).map_or(1, |opset| opset.version);
    let context = ParsingContext {
        onnx_operator_set_version: version,
        framework: onnx,
        model,
        parent_graphs: vec![graph],
        model_dir: None,
        template: InferenceModel::default(),
    };
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in &graph.node {
        if let Some(Err(error)) = onnx.op_register.0.get(&node.op_type).map(|build| build(&context, node)) {
            found.entry(format!("{}: {}", node.op_type, brief(&error))).or_default().push(node_name(node));
        }
    }
    (!found.is_empty()).then(|| list(&found))
}

fn collect<'a>(graph: &'a GraphProto, nodes: &mut Vec<&'a NodeProto>) {
    for node in &graph.node {
        nodes.push(node);
        for attribute in &node.attribute {
            attribute.g.iter().chain(&attribute.graphs).for_each(|graph| collect(graph, nodes));
        }
    }
}

/// `op (node, node); op (node)`
fn list(unknown: &BTreeMap<String, Vec<String>>) -> String {
    // Enough to find them all; a graph of thousands need not list thousands.
    const NAMES: usize = 8;
    let mut text = String::new();
    for (op, nodes) in unknown {
        let names = nodes[..nodes.len().min(NAMES)].join("', '");
        let separator = if text.is_empty() { "" } else { "; " };
        let more = if nodes.len() > NAMES { format!(" and {} more", nodes.len() - NAMES) } else { String::new() };
        let _ = write!(text, "{separator}{op} ('{names}'{more})");
    }
    text
}

fn node_name(node: &NodeProto) -> String {
    match node.output.first() {
        Some(output) if node.name.is_empty() => output.clone(),
        _ => node.name.clone(),
    }
}

/// The input that says a shape, of the operators that make tensors of the shape that a constant says. What others make of
/// their constants (pads, ends of ranges) is bounded when they are built.
const SHAPES: [(&str, usize); 5] = [("ConstantOfShape", 0), ("Expand", 1), ("OneHot", 1), ("Resize", 3), ("Tile", 1)];

/// Constants that say a shape (to `ConstantOfShape`, `Expand`, `Tile`, …) are computed with while the model loads: a
/// few bytes could ask for all memory there is.
fn check_shapes(graph: &GraphProto, nodes: &[&NodeProto]) -> Result<(), ModelError> {
    let constants = nodes.iter().filter(|node| node.op_type == "Constant").flat_map(|node| {
        let tensors = node.attribute.iter().filter_map(|attribute| attribute.t.as_ref());
        tensors.filter_map(|tensor| node.output.first().map(|name| (name.as_str(), tensor)))
    });
    let tensors: BTreeMap<&str, _> =
        graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).chain(constants).collect();
    for node in nodes {
        let slot = SHAPES.iter().find(|(name, _)| *name == node.op_type).map(|&(_, slot)| slot);
        let name = slot.and_then(|slot| node.input.get(slot));
        let Some(tensor) = name.and_then(|name| tensors.get(name.as_str())) else { continue };
        // Shapes are lists of a few 64-bit integers.
        if tensor.dims.len() > 1 || tensor.data_type != 7 {
            continue;
        }
        let raw = tensor.raw_data.chunks_exact(8).filter_map(|bytes| bytes.try_into().ok().map(i64::from_le_bytes));
        let product = raw
            .chain(tensor.int64_data.iter().copied())
            .map(i64::unsigned_abs)
            .filter(|&dim| dim != 0 && dim != i64::MAX as u64 && dim != i64::MIN.unsigned_abs())
            .fold(1, u64::saturating_mul);
        if product > ELEMENTS {
            let found = usize::try_from(product).unwrap_or(usize::MAX);
            return Err(ModelError::TooLarge { what: "elements in one tensor", found, limit: ELEMENTS as usize });
        }
    }
    Ok(())
}
