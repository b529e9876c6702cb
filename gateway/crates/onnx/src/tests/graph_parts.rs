//! Parts of graphs, for tests that write their own.

use tract_onnx::pb::{
    AttributeProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto,
    tensor_shape_proto, type_proto,
};

const DOUBLE: i32 = 11;
const LONG: i32 = 7;

pub(crate) fn node(op: &str, input: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    let input = input.iter().map(|&name| name.to_owned()).collect();
    NodeProto {
        op_type: op.into(),
        name: output.into(),
        input,
        output: vec![output.into()],
        attribute,
        ..NodeProto::default()
    }
}

pub(crate) fn doubles(name: &str, dims: &[i64], values: &[f64]) -> TensorProto {
    let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    TensorProto { name: name.into(), dims: dims.into(), data_type: DOUBLE, raw_data, ..TensorProto::default() }
}

pub(crate) fn longs(name: &str, values: &[i64]) -> TensorProto {
    let (dims, int64_data) = (vec![values.len() as i64], values.to_vec());
    TensorProto { name: name.into(), dims, data_type: LONG, int64_data, ..TensorProto::default() }
}

pub(crate) fn doubles_of(name: &str, sizes: &[Option<i64>]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension};
    let dim = |size: &Option<i64>| Dimension { value: size.map(dimension::Value::DimValue), ..Dimension::default() };
    let shape = Some(TensorShapeProto { dim: sizes.iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: DOUBLE, shape };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() });
    ValueInfoProto { name: name.into(), r#type, ..ValueInfoProto::default() }
}

pub(crate) fn rows_of(name: &str, width: i64) -> ValueInfoProto {
    doubles_of(name, &[None, Some(width)])
}

pub(crate) fn tensor(name: &str, t: TensorProto) -> AttributeProto {
    let r#type = attribute_proto::AttributeType::Tensor as i32;
    AttributeProto { name: name.into(), r#type, t: Some(t), ..AttributeProto::default() }
}

pub(crate) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: attribute_proto::AttributeType::Int as i32,
        i,
        ..AttributeProto::default()
    }
}

pub(crate) fn singles(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let (dims, float_data) = (dims.to_vec(), values.to_vec());
    TensorProto { name: name.into(), dims, data_type: 1, float_data, ..TensorProto::default() }
}
