//! A model's signature as TensorFlow Serving's `/metadata` tells it.

use modelgate_columns::{Column, Datatype};
use serde_json::{Map, Value, json};

use crate::model_info::Metadata;

/// `GetModelMetadataResponse` in JSON; the numbers of a shape are text there.
pub(super) fn metadata(model: &Metadata, version: &str) -> Value {
    json!({
        "model_spec": { "name": model.name, "signature_name": "", "version": version },
        "metadata": {
            "signature_def": {
                "signature_def": {
                    "serving_default": {
                        "inputs": tensors(&model.info.signature.inputs),
                        "outputs": tensors(&model.info.signature.outputs),
                        "method_name": "tensorflow/serving/predict",
                    },
                },
            },
        },
    })
}

fn tensors(columns: &[Column]) -> Map<String, Value> {
    let dim = |size: &i64| json!({ "size": size.to_string(), "name": "" });
    let tensor = |column: &Column| {
        json!({
            "dtype": dtype(column.datatype),
            "tensor_shape": { "dim": column.shape.iter().map(dim).collect::<Vec<_>>(), "unknown_rank": false },
            "name": column.name,
        })
    };
    columns.iter().map(|column| (column.name.clone(), tensor(column))).collect()
}

fn dtype(datatype: Datatype) -> &'static str {
    match datatype {
        Datatype::Bool => "DT_BOOL",
        Datatype::U8 => "DT_UINT8",
        Datatype::U16 => "DT_UINT16",
        Datatype::U32 => "DT_UINT32",
        Datatype::U64 => "DT_UINT64",
        Datatype::I8 => "DT_INT8",
        Datatype::I16 => "DT_INT16",
        Datatype::I32 => "DT_INT32",
        Datatype::I64 => "DT_INT64",
        Datatype::F16 => "DT_HALF",
        Datatype::F32 => "DT_FLOAT",
        Datatype::F64 => "DT_DOUBLE",
        Datatype::Bytes => "DT_STRING",
    }
}
