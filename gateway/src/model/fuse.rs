//! Makes one node of several where converters write out what one operator of ours does at once: layers of a network that
//! follow each other, and the label of the greatest score. Each node costs a call of a small network about as much as a
//! layer does.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto};

use super::ops::{self, OWN};

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

/// Who reads a value.
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

/// A layer found in the graph.
struct Layer {
    rows: String,
    weights: String,
    bias: Option<String>,
    by_output: bool,
    relu: bool,
    /// Whether its result has two dimensions for sure.
    is_matrix: bool,
    nodes: Vec<usize>,
    output: String,
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
        let named = named.map(|(place, tensor)| (tensor.name.clone(), Constant::Tensor(place)));
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
            Constant::Tensor(place) => self.tensors.get(place)?.as_ref(),
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
            Constant::Tensor(place) => self.tensors.get_mut(place)?.take(),
            Constant::Node(at) => self.nodes.get_mut(at)?.take()?.attribute.pop()?.t,
        }
    }

    /// Whether this is a bias for so many outputs.
    fn is_bias(&self, name: &str, outputs: i64) -> bool {
        let bias = self.tensor(name).filter(|bias| bias.data_type == SINGLE);
        bias.is_some_and(|bias| matches!(bias.dims[..], [len] | [1, len] if len == outputs))
    }

    fn layer(&self, at: usize) -> Option<Layer> {
        let node = self.nodes.get(at)?.as_ref()?;
        let is_gemm = match node.op_type.as_str() {
            "MatMul" => false,
            "Gemm" if ops::is_plain_gemm(node) => true,
            _ => return None,
        };
        let ([rows, weights, bias @ ..], [output]) = (&node.input[..], &node.output[..]) else { return None };
        let by_output = node.attribute.iter().any(|attribute| attribute.name == "transB" && attribute.i != 0);
        let tensor = self.tensor(weights).filter(|tensor| tensor.data_type == SINGLE)?;
        let &[first, second] = &tensor.dims[..] else { return None };
        let outputs = if by_output { first } else { second };
        if !is_standard(&node.domain) || self.tensor(rows).is_some() || first < 1 || second < 1 {
            return None;
        }
        let mut layer = Layer {
            rows: rows.clone(),
            weights: weights.clone(),
            bias: bias.first().filter(|bias| !bias.is_empty()).cloned(),
            by_output,
            relu: false,
            is_matrix: is_gemm,
            nodes: vec![at],
            output: output.clone(),
        };
        if layer.bias.as_ref().is_some_and(|bias| !self.is_bias(bias, outputs)) {
            return None;
        }
        if layer.bias.is_none()
            && let Some((at, add)) = self.next(&layer.output, "Add")
            && let ([one, other], [output]) = (&add.input[..], &add.output[..])
        {
            let bias = if *one == layer.output { other } else { one };
            if self.is_bias(bias, outputs) {
                layer.bias = Some(bias.clone());
                layer.nodes.push(at);
                layer.output.clone_from(output);
            }
        }
        if let Some((at, relu)) = self.next(&layer.output, "Relu") {
            layer.relu = true;
            layer.nodes.push(at);
            layer.output.clone_from(relu.output.first()?);
        }
        Some(layer)
    }

    /// Whether this has two dimensions for sure.
    fn is_matrix(&self, name: &str) -> bool {
        let maker = self.nodes.iter().flatten().find(|node| node.output.iter().any(|output| output == name));
        match maker {
            None => self.matrices.iter().any(|matrix| matrix == name),
            Some(node) => match node.op_type.as_str() {
                "Flatten" | "Gemm" => true,
                "Cast" | "Identity" | "Scaler" => {
                    node.input.first().is_some_and(|input| self.matrices.iter().any(|matrix| matrix == input))
                }
                _ => false,
            },
        }
    }

    /// The layers that follow each other from this node on.
    fn fuse_layers(&mut self, at: usize) -> Option<()> {
        let mut layers = vec![self.layer(at)?];
        loop {
            let output = &layers.last()?.output;
            let readers = self.readers.get(output).filter(|readers| readers.count == 1);
            let next = readers.and_then(|readers| self.layer(readers.last?)).filter(|next| next.rows == *output);
            let Some(next) = next else { break };
            layers.push(next);
        }
        let rows = layers.first()?.rows.clone();
        let mut output = layers.last()?.output.clone();
        let mut parts: Vec<usize> = layers.iter().flat_map(|layer| layer.nodes.iter().copied()).collect();
        let mut softmax = false;
        if let Some((at, node)) = self.next(&output, "Softmax") {
            let axis = node.attribute.iter().find(|attribute| attribute.name == "axis").map(|attribute| attribute.i);
            let is_last = match axis {
                Some(axis) => axis == -1,
                None => self.opset >= 13,
            };
            let is_second = axis.unwrap_or(1) == 1;
            if is_last || is_second && (layers.iter().any(|layer| layer.is_matrix) || self.is_matrix(&rows)) {
                softmax = true;
                parts.push(at);
                output.clone_from(node.output.first()?);
            }
        }
        let mut tensors = (Vec::new(), Vec::new());
        for layer in &layers {
            tensors.0.push(self.take(&layer.weights)?);
            let none = || TensorProto { dims: vec![0], data_type: SINGLE, ..TensorProto::default() };
            tensors.1.push(layer.bias.as_ref().map_or_else(|| Some(none()), |bias| self.take(bias))?);
        }
        let flags = |flag: fn(&Layer) -> bool| layers.iter().map(|layer| i64::from(flag(layer))).collect();
        let attributes = vec![
            tensor_list("weights", tensors.0),
            tensor_list("biases", tensors.1),
            int_list("by_output", flags(|layer| layer.by_output)),
            int_list("relu", flags(|layer| layer.relu)),
            int("softmax", softmax.into()),
        ];
        self.replace(&parts, "ModelgateLayers", (rows, output), attributes);
        Some(())
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

    /// The label of the greatest score, from the `ArgMax` on.
    fn fuse_label(&mut self, at: usize) -> Option<()> {
        let node = self.node(at, "ArgMax")?;
        let attribute = |node: &NodeProto, name: &str, default| {
            node.attribute.iter().find(|attribute| attribute.name == name).map_or(default, |attribute| attribute.i)
        };
        let ([scores], [places]) = (&node.input[..], &node.output[..]) else { return None };
        if attribute(node, "axis", 0) != 1 || attribute(node, "select_last_index", 0) != 0 {
            return None;
        }
        let scores = scores.clone();
        let readers = self.readers.get(places).filter(|readers| readers.count == 1)?;
        let pick_at = readers.last?;
        let pick = self.nodes.get(pick_at)?.as_ref()?;
        let ([classes, of], [picked]) = (&pick.input[..], &pick.output[..]) else { return None };
        if pick.op_type != "ArrayFeatureExtractor" || of != places {
            return None;
        }
        let (reshape_at, reshape) = self.next(picked, "Reshape")?;
        let ([_, shape], [flat]) = (&reshape.input[..], &reshape.output[..]) else { return None };
        let is_flat = self.tensor(shape).and_then(ints).is_some_and(|shape| shape == [-1]);
        if !is_flat || attribute(reshape, "allowzero", 0) != 0 {
            return None;
        }
        let classes = self.tensor(classes).filter(|classes| matches!(classes.dims[..], [_] | [1, _]))?;
        let mut parts = vec![at, pick_at, reshape_at];
        let mut output = flat.clone();
        let cast = self.next(flat, "Cast").map(|(at, cast)| (at, attribute(cast, "to", 0), cast.output.first()));
        let labels = match (classes.data_type, cast) {
            (INT | LONG, Some((at, LONG_CODE, Some(cast)))) => {
                parts.push(at);
                output.clone_from(cast);
                int_list("ints", ints(classes)?)
            }
            (LONG, _) => int_list("ints", ints(classes)?),
            (TEXT, _) => text_list("strings", classes.string_data.clone()),
            _ => return None,
        };
        self.replace(&parts, "ModelgateLabel", (scores, output), vec![labels]);
        Some(())
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

/// What a `Constant` node gives.
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
