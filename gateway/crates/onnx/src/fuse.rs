//! Makes one node of several where converters write out what one operator of ours does at once: layers of a network that
//! follow each other, and the label of the greatest score. Each node costs a call of a small network about as much as a
//! layer does.

mod label;
mod mlp;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto};

use super::ops::OWN;

/// Rewrites the graph; it was checked before.
pub(super) fn fuse(model: &mut ModelProto) {
    let opset = model.opset_import.iter().find(|opset| is_standard(&opset.domain)).map_or(1, |opset| opset.version);
    let Some(graph) = &mut model.graph else { return };
    let mut work = Work::new(graph, opset);
    for at in 0..work.nodes.len() {
        work.fuse_layers(at);
        work.fuse_label(at);
    }
    graph.node = work.nodes.into_iter().flatten().collect();
    graph.initializer = work.tensors.into_iter().flatten().collect();
    // Old files list constants among the inputs too.
    graph.input.retain(|input| !work.taken.contains(&input.name));
}

fn is_standard(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// The readers of a value.
#[derive(Clone, Copy, Default)]
struct Readers {
    count: usize,
    /// The place of the last one among the nodes; `None` if it is the graph's output or in a subgraph.
    last: Option<usize>,
}

/// A graph while it is rewritten.
struct Work {
    opset: i64,
    /// `None` where one was made part of another.
    nodes: Vec<Option<NodeProto>>,
    /// `None` where one was taken.
    tensors: Vec<Option<TensorProto>>,
    constants: HashMap<String, Constant>,
    readers: HashMap<String, Readers>,
    /// Inputs of two dimensions.
    matrices: Vec<String>,
    /// Constants that are no longer in the graph.
    taken: HashSet<String>,
}

/// Where a constant is.
#[derive(Clone, Copy)]
enum Constant {
    Tensor(usize),
    Node(usize),
}

impl Work {
    fn new(graph: &mut GraphProto, opset: i64) -> Self {
        let mut readers: HashMap<String, Readers> = HashMap::new();
        let mut read = |name: &str, by| {
            let readers = readers.entry(name.to_owned()).or_default();
            *readers = Readers { count: readers.count + 1, last: by };
        };
        graph.output.iter().for_each(|output| read(&output.name, None));
        for (at, node) in graph.node.iter().enumerate() {
            node.input.iter().for_each(|input| read(input, Some(at)));
            let inner = node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
            inner.for_each(|graph| read_inside(graph, &mut read));
        }
        let matrices = graph.input.iter().filter(|input| is_matrix(input)).map(|input| input.name.clone()).collect();
        let tensors: Vec<_> = std::mem::take(&mut graph.initializer).into_iter().map(Some).collect();
        let nodes: Vec<_> = std::mem::take(&mut graph.node).into_iter().map(Some).collect();
        let named = tensors.iter().flatten().enumerate();
        let named = named.map(|(index, tensor)| (tensor.name.clone(), Constant::Tensor(index)));
        let written = nodes.iter().flatten().enumerate().filter(|(_, node)| value_of(node).is_some());
        let written = written.map(|(at, node)| (node.output[0].clone(), Constant::Node(at)));
        let constants = named.chain(written).collect();
        Self { opset, nodes, tensors, constants, readers, matrices, taken: HashSet::new() }
    }

    fn node(&self, at: usize, op: &str) -> Option<&NodeProto> {
        self.nodes.get(at)?.as_ref().filter(|node| node.op_type == op && is_standard(&node.domain))
    }

    /// The only node that reads this, if it is of this kind.
    fn next(&self, name: &str, op: &str) -> Option<(usize, &NodeProto)> {
        let readers = self.readers.get(name).filter(|readers| readers.count == 1)?;
        Some((readers.last?, self.node(readers.last?, op)?))
    }

    /// A constant.
    fn tensor(&self, name: &str) -> Option<&TensorProto> {
        match *self.constants.get(name)? {
            Constant::Tensor(index) => self.tensors.get(index)?.as_ref(),
            Constant::Node(at) => value_of(self.nodes.get(at)?.as_ref()?),
        }
    }

    /// The constant itself if nobody else reads it, else a copy.
    fn take(&mut self, name: &str) -> Option<TensorProto> {
        if self.readers.get(name).is_none_or(|readers| readers.count > 1) {
            return self.tensor(name).cloned();
        }
        self.taken.insert(name.to_owned());
        match *self.constants.get(name)? {
            Constant::Tensor(index) => self.tensors.get_mut(index)?.take(),
            Constant::Node(at) => self.nodes.get_mut(at)?.take()?.attribute.pop()?.t,
        }
    }

    /// Puts one node for several.
    fn replace(
        &mut self,
        parts: &[usize],
        op: &str,
        (input, output): (String, String),
        attribute: Vec<AttributeProto>,
    ) {
        let mut name = String::new();
        for &part in parts {
            name = self.nodes[part].take().map_or(name, |node| node.name);
        }
        self.nodes[parts[0]] = Some(NodeProto {
            name,
            op_type: op.to_owned(),
            domain: OWN.to_owned(),
            input: vec![input],
            output: vec![output],
            attribute,
            ..NodeProto::default()
        });
    }
}

// Codes of the types of tensors.
const SINGLE: i32 = 1;
const INT: i32 = 6;
const LONG: i32 = 7;
const LONG_CODE: i64 = LONG as i64;
const TEXT: i32 = 8;

fn read_inside(graph: &GraphProto, read: &mut impl FnMut(&str, Option<usize>)) {
    graph.output.iter().for_each(|output| read(&output.name, None));
    for node in &graph.node {
        node.input.iter().for_each(|input| read(input, None));
        for graph in node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)) {
            read_inside(graph, read);
        }
    }
}

/// The tensor that a `Constant` node gives.
fn value_of(node: &NodeProto) -> Option<&TensorProto> {
    let ([_], [value]) = (&node.output[..], &node.attribute[..]) else { return None };
    let is_constant = node.op_type == "Constant" && is_standard(&node.domain) && value.name == "value";
    value.t.as_ref().filter(|_| is_constant)
}

/// Whether an input has two dimensions.
fn is_matrix(input: &ValueInfoProto) -> bool {
    let kind = input.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    let Some(type_proto::Value::TensorType(tensor)) = kind else { return false };
    tensor.shape.as_ref().is_some_and(|shape| shape.dim.len() == 2)
}

/// The values of a tensor of whole numbers.
fn ints(tensor: &TensorProto) -> Option<Vec<i64>> {
    Some(match tensor.data_type {
        INT if tensor.raw_data.is_empty() => tensor.int32_data.iter().copied().map(i64::from).collect(),
        INT => tensor.raw_data.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes).into()).collect(),
        LONG if tensor.raw_data.is_empty() => tensor.int64_data.clone(),
        LONG => tensor.raw_data.as_chunks().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect(),
        _ => return None,
    })
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: kind as i32, ..AttributeProto::default() }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i, ..attribute(name, AttributeType::Int) }
}

fn int_list(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto { ints, ..attribute(name, AttributeType::Ints) }
}

fn text_list(name: &str, strings: Vec<Vec<u8>>) -> AttributeProto {
    AttributeProto { strings, ..attribute(name, AttributeType::Strings) }
}

fn tensor_list(name: &str, tensors: Vec<TensorProto>) -> AttributeProto {
    AttributeProto { tensors, ..attribute(name, AttributeType::Tensors) }
}
