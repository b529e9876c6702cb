//! Trees in a file, read without taking them apart.
//!
//! An ensemble is a few lists of hundreds of thousands of small numbers, a byte or two each. As messages they take eight
//! times that, beside the file, and longer to make than all that follows. So the long lists of tree nodes are left as
//! packed bytes, in the place of the attribute's text, and the rest of the file is decoded as usual.

use bytes::Bytes;
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto};

use super::error::ModelError;
use modelgate_throttle::GivingWay;

/// The beginning of the names of operators that are trees.
const TREES: &[u8] = b"TreeEnsemble";

/// The beginnings of the names of their long lists.
const LISTS: [&[u8]; 5] = [b"nodes_", b"class_", b"target_", b"leaf_", b"tree_roots"];

/// Numbers of fields, by onnx.proto.
mod number {
    pub(super) const MODEL_GRAPH: u64 = 7;
    pub(super) const GRAPH_NODE: u64 = 1;
    pub(super) const NODE_OPERATOR: u64 = 4;
    pub(super) const NODE_ATTRIBUTE: u64 = 5;
    pub(super) const ATTRIBUTE_NAME: u64 = 1;
    pub(super) const ATTRIBUTE_FLOATS: u64 = 7;
    pub(super) const ATTRIBUTE_INTS: u64 = 8;
    pub(super) const ATTRIBUTE_STRINGS: u64 = 9;
}

/// A file's model, in which the lists of trees may be packed.
pub(super) fn decode(onnx: Vec<u8>) -> Result<ModelProto, ModelError> {
    // What this reader does not expect, the other one judges.
    if let Some(model) = model(&onnx) {
        return Ok(model);
    }
    ModelProto::decode(Bytes::from(onnx)).map_err(|error| ModelError::Corrupt(error.to_string()))
}

/// `None` if it has no trees, or is not as expected.
fn model(onnx: &[u8]) -> Option<ModelProto> {
    let (graphs, rest) = split(onnx, number::MODEL_GRAPH)?;
    let &[graph] = graphs.as_slice() else { return None };
    let (nodes, graph_rest) = split(graph, number::GRAPH_NODE)?;
    if !nodes.iter().any(|node| is_trees(node)) {
        return None;
    }
    let nodes = nodes.iter().map(|bytes| if is_trees(bytes) { node(bytes) } else { NodeProto::decode(*bytes).ok() });
    let graph = GraphProto { node: nodes.collect::<Option<_>>()?, ..GraphProto::decode(graph_rest.as_slice()).ok()? };
    Some(ModelProto { graph: Some(graph), ..ModelProto::decode(rest.as_slice()).ok()? })
}

fn is_trees(node: &[u8]) -> bool {
    let operator = Fields(node).flatten().find(|field| field.number == number::NODE_OPERATOR);
    matches!(operator, Some(Field { value: Value::Bytes(name), .. }) if name.starts_with(TREES))
}

fn node(bytes: &[u8]) -> Option<NodeProto> {
    let (attributes, rest) = split(bytes, number::NODE_ATTRIBUTE)?;
    let attribute = attributes.into_iter().map(attribute).collect::<Option<_>>()?;
    Some(NodeProto { attribute, ..NodeProto::decode(rest.as_slice()).ok()? })
}

fn attribute(bytes: &[u8]) -> Option<AttributeProto> {
    let name = Fields(bytes).flatten().find(|field| field.number == number::ATTRIBUTE_NAME);
    let is_list = matches!(
        name, Some(Field { value: Value::Bytes(name), .. }) if LISTS.iter().any(|list| name.starts_with(list))
    );
    if !is_list {
        return AttributeProto::decode(bytes).ok();
    }
    let (mut packed, mut rest) = (Vec::with_capacity(bytes.len()), Vec::new());
    // A list has values of one kind.
    let mut kind = None;
    for field in Fields(bytes).giving_way() {
        let field = field?;
        let is_value =
            matches!(field.number, number::ATTRIBUTE_FLOATS | number::ATTRIBUTE_INTS | number::ATTRIBUTE_STRINGS);
        if !is_value {
            rest.extend_from_slice(field.whole);
            continue;
        }
        if *kind.get_or_insert(field.number) != field.number {
            return None;
        }
        match (field.number, field.value) {
            (number::ATTRIBUTE_INTS, Value::Varint(value)) => push(value, &mut packed),
            (number::ATTRIBUTE_INTS, Value::Bytes(values)) if values.last().is_none_or(|last| *last < 0x80) => {
                packed.extend_from_slice(values);
            }
            (number::ATTRIBUTE_FLOATS, Value::Word(value)) => packed.extend_from_slice(value),
            (number::ATTRIBUTE_FLOATS, Value::Bytes(values)) if values.len() % 4 == 0 => {
                packed.extend_from_slice(values);
            }
            (number::ATTRIBUTE_STRINGS, Value::Bytes(value)) => {
                push(value.len() as u64, &mut packed);
                packed.extend_from_slice(value);
            }
            _ => return None,
        }
    }
    let Some(kind) = kind else { return AttributeProto::decode(bytes).ok() };
    packed.shrink_to_fit();
    let kind = match kind {
        number::ATTRIBUTE_FLOATS => AttributeType::Floats,
        number::ATTRIBUTE_INTS => AttributeType::Ints,
        _ => AttributeType::Strings,
    };
    let decoded = AttributeProto::decode(rest.as_slice()).ok().filter(|attribute| attribute.s.is_empty())?;
    Some(AttributeProto { s: packed, r#type: kind as i32, ..decoded })
}

/// The messages in that field, and everything else as it was.
fn split(message: &[u8], number: u64) -> Option<(Vec<&[u8]>, Vec<u8>)> {
    let (mut found, mut rest) = (Vec::new(), Vec::new());
    for field in Fields(message) {
        match field? {
            Field { number: field, value: Value::Bytes(bytes), .. } if field == number => found.push(bytes),
            field => rest.extend_from_slice(field.whole),
        }
    }
    Some((found, rest))
}

/// The fields of a message; `None` where it ends early.
struct Fields<'a>(&'a [u8]);

struct Field<'a> {
    number: u64,
    value: Value<'a>,
    /// Its bytes, tag and all.
    whole: &'a [u8],
}

enum Value<'a> {
    Varint(u64),
    Long,
    Word(&'a [u8]),
    Bytes(&'a [u8]),
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<Field<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let start = self.0;
        let field = self.field(start);
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self, start: &'a [u8]) -> Option<Field<'a>> {
        let tag = take(&mut self.0)?;
        let value = match tag & 7 {
            0 => Value::Varint(take(&mut self.0)?),
            1 => {
                self.bytes(8)?;
                Value::Long
            }
            2 => {
                let length = take(&mut self.0)?;
                Value::Bytes(self.bytes(length)?)
            }
            5 => Value::Word(self.bytes(4)?),
            _ => return None,
        };
        Some(Field { number: tag >> 3, value, whole: &start[..start.len() - self.0.len()] })
    }

    fn bytes(&mut self, count: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// Takes a number of seven bits a byte, the lowest first; `None` if the bytes end in it, or it has more than 64 bits' room.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    const LONGEST: usize = 10;
    let mut value = 0;
    for (index, &byte) in bytes.iter().enumerate().take(LONGEST) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *bytes = &bytes[index + 1..];
            return Some(value);
        }
    }
    None
}

fn push(mut value: u64, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(attribute: Vec<AttributeProto>, op_type: &str) -> ModelProto {
        let node = NodeProto { op_type: op_type.into(), attribute, output: vec!["y".into()], ..Default::default() };
        let other = NodeProto { op_type: "Identity".into(), ..Default::default() };
        let graph = GraphProto { node: vec![other, node], name: "trees".into(), ..Default::default() };
        ModelProto { graph: Some(graph), ir_version: 8, ..Default::default() }
    }

    fn list(name: &str) -> AttributeProto {
        AttributeProto { name: name.into(), ..Default::default() }
    }

    #[test]
    fn only_the_lists_of_trees_are_packed() {
        let ids = AttributeProto { ints: vec![0, 300, -1], ..list("nodes_nodeids") };
        let values = AttributeProto { floats: vec![0.5, -2.0], ..list("nodes_values") };
        let modes = AttributeProto { strings: vec![b"LEAF".to_vec(), Vec::new()], ..list("nodes_modes") };
        let labels = AttributeProto { ints: vec![1, 2], ..list("classlabels_int64s") };
        let post = AttributeProto { s: b"NONE".to_vec(), ..list("post_transform") };
        let given = message(vec![ids.clone(), values, modes, labels.clone(), post.clone()], "TreeEnsembleClassifier");
        let read = decode(given.encode_to_vec()).unwrap();
        let graph = read.graph.as_ref().unwrap();
        assert_eq!((read.ir_version, graph.name.as_str(), graph.node.len()), (8, "trees", 2));
        assert_eq!(graph.node[1].output, ["y"]);
        let [ids, values, modes, other @ ..] = graph.node[1].attribute.as_slice() else { panic!("{graph:?}") };
        let mut varints = vec![0, 0xac, 0x02];
        varints.extend([0xff; 9]);
        varints.push(1);
        assert_eq!((ids.ints.len(), &ids.s), (0, &varints));
        assert_eq!(values.s, [0.5f32.to_le_bytes(), (-2.0f32).to_le_bytes()].concat());
        assert_eq!(modes.s, b"\x04LEAF\x00");
        assert_eq!(other, [labels, post]);
    }

    #[test]
    fn whatever_else_is_decoded_as_it_is() {
        let ids = AttributeProto { ints: vec![0, 300, -1], ..list("nodes_nodeids") };
        let network = message(vec![ids.clone()], "Gemm");
        assert_eq!(decode(network.encode_to_vec()).unwrap(), network);
        // Values of two kinds in one list.
        let mixed = AttributeProto { floats: vec![1.0], ..ids };
        let trees = message(vec![mixed], "TreeEnsembleRegressor");
        assert_eq!(decode(trees.encode_to_vec()).unwrap(), trees);
    }

    #[test]
    fn files_that_end_early_are_corrupt() {
        let ids = AttributeProto { ints: vec![0, 300, -1], ..list("nodes_nodeids") };
        let whole = message(vec![ids], "TreeEnsemble").encode_to_vec();
        for end in 3..whole.len() {
            assert!(matches!(decode(whole[..end].to_vec()), Err(ModelError::Corrupt(_))), "{end}");
        }
    }
}
