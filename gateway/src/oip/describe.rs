//! The protocol's description of a model: its metadata, and its configuration in Triton's terms.

use modelgate_columns::{Column, Datatype};
use serde_json::{Map, Value, json};

use crate::{
    generation::Generation,
    model_info::Metadata,
    oip::{self, input},
};

/// Extensions of the protocol that are offered.
pub const EXTENSIONS: [&str; 5] =
    ["binary_tensor_data", "model_configuration", "model_repository", "schedule_policy", "statistics"];

/// The platform that runs the models, as the protocol names it.
pub const PLATFORM: &str = "modelgate_onnx";

/// A datatype as Triton's model configuration names and numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TritonType {
    /// `TYPE_FP32`.
    pub name: &'static str,
    /// Its number in the protocol's enumeration.
    pub number: i32,
}

impl From<Datatype> for TritonType {
    fn from(datatype: Datatype) -> Self {
        let (name, number) = match datatype {
            Datatype::Bool => ("TYPE_BOOL", 1),
            Datatype::U8 => ("TYPE_UINT8", 2),
            Datatype::U16 => ("TYPE_UINT16", 3),
            Datatype::U32 => ("TYPE_UINT32", 4),
            Datatype::U64 => ("TYPE_UINT64", 5),
            Datatype::I8 => ("TYPE_INT8", 6),
            Datatype::I16 => ("TYPE_INT16", 7),
            Datatype::I32 => ("TYPE_INT32", 8),
            Datatype::I64 => ("TYPE_INT64", 9),
            Datatype::F16 => ("TYPE_FP16", 10),
            Datatype::F32 => ("TYPE_FP32", 11),
            Datatype::F64 => ("TYPE_FP64", 12),
            Datatype::Bytes => ("TYPE_STRING", 13),
        };
        Self { name, number }
    }
}

/// The model's metadata.
pub fn metadata(model: &Metadata) -> Value {
    let Metadata { name, versions, info } = model;
    let tensors = |columns: &[Column]| {
        let tensor = |column: &Column| {
            let (datatype, shape) = (column.datatype.protocol_name(), oip::shape(column, info.tensors));
            json!({ "name": column.name, "datatype": datatype, "shape": shape })
        };
        columns.iter().map(tensor).collect::<Vec<_>>()
    };
    let mut properties = json!({ "isolation": info.isolation.name(), "batching": info.batching });
    if let Some(classes) = classes(&info.signature.outputs) {
        properties["classes"] = classes.into();
    }
    json!({
        "name": name,
        "versions": versions,
        "platform": PLATFORM,
        "inputs": tensors(&info.signature.inputs),
        "outputs": tensors(&info.signature.outputs),
        "properties": properties,
    })
}

/// The classes in the order of a row's probabilities, as the text of a JSON list: properties are texts. None where several
/// outputs have probabilities, each of other classes.
pub fn classes(outputs: &[Column]) -> Option<String> {
    let mut named = outputs.iter().filter(|column| column.shape.len() == 2 && !column.categories.is_empty());
    let classes = json!(named.next()?.categories).to_string();
    named.next().is_none().then_some(classes)
}

/// The model's configuration, as far as it has one in Triton's terms.
pub fn config(generation: &Generation) -> Value {
    let tensor = |column: &Column| {
        let mut tensor = Map::new();
        tensor.insert("name".into(), column.name.clone().into());
        tensor.insert("data_type".into(), TritonType::from(column.datatype).name.into());
        match column.inner_shape() {
            // Triton's way to say that there is a single value.
            [] => {
                tensor.insert("dims".into(), json!([1]));
                tensor.insert("reshape".into(), json!({ "shape": [] }));
            }
            dims => _ = tensor.insert("dims".into(), dims.into()),
        }
        tensor
    };
    let inputs: Vec<_> = generation
        .signature
        .inputs
        .iter()
        .map(|column| {
            let mut tensor = tensor(column);
            tensor.insert("optional".into(), input::is_optional(column).into());
            tensor
        })
        .collect();
    let outputs: Vec<_> = generation.signature.outputs.iter().map(tensor).collect();
    let mut config = json!({
        "name": generation.name,
        "platform": PLATFORM,
        "backend": "modelgate",
        "version_policy": { "latest": { "num_versions": 1 } },
        // Of 0, in Triton's terms, for shapes that are told whole.
        "max_batch_size": if generation.tensors { 0 } else { generation.limits.rows },
        "input": inputs,
        "output": outputs,
        "model_transaction_policy": { "decoupled": false },
        "parameters": {
            "isolation": { "string_value": generation.isolation.name() },
            "batching": { "string_value": generation.batching_decision.to_string() },
            "batching_cause": { "string_value": generation.batching_decision.cause.label() },
        },
    });
    if generation.batching.is_on() {
        let delay = u64::try_from(generation.batching.max_delay.as_micros()).unwrap_or(u64::MAX);
        config["dynamic_batching"] = json!({ "max_queue_delay_microseconds": delay });
    }
    config
}
