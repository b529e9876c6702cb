//! The inputs of a model's signature, as MLflow writes them: JSON in a text of the `MLmodel`.

use modelgate_columns::Datatype;
use modelgate_onnx::Feature;
use serde::Deserialize;

#[derive(Deserialize)]
struct Input {
    #[serde(rename = "type")]
    kind: serde_json::Value,
    name: Option<String>,
}

/// The columns that a signature names; none where it has tensors, or columns without names.
///
/// # Errors
/// A column of a type that no booster takes.
pub(super) fn features(inputs: &str) -> Result<Vec<Feature>, String> {
    // Of another shape, it says nothing about columns.
    let Ok(inputs) = serde_json::from_str::<Vec<Input>>(inputs) else { return Ok(Vec::new()) };
    if inputs.iter().any(|input| input.name.is_none() || input.kind == "tensor") {
        return Ok(Vec::new());
    }
    let feature = |input: Input| {
        let datatype = match input.kind.as_str() {
            Some("boolean") => Datatype::Bool,
            Some("integer") => Datatype::I32,
            Some("long") => Datatype::I64,
            Some("float") => Datatype::F32,
            Some("double") => Datatype::F64,
            Some("string") => Datatype::Bytes,
            _ => {
                let name = input.name.unwrap_or_default();
                return Err(format!("has a column '{name}' of the type {}, which boosters do not take", input.kind));
            }
        };
        Ok(Feature { name: input.name.unwrap_or_default(), datatype: Some(datatype) })
    };
    inputs.into_iter().map(feature).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_with_names() {
        let names =
            |inputs: &str| features(inputs).map(|found| found.into_iter().map(|feature| feature.name).collect());
        assert_eq!(
            names(r#"[{"name": "a", "type": "double"}, {"type": "string", "name": "b"}]"#),
            Ok(vec!["a".into(), "b".into()])
        );
        let tensor = r#"[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 4]}}]"#;
        for none in [tensor, r#"[{"type": "double"}]"#, "null", "{}", "[", "[]"] {
            assert_eq!(names(none), Ok(Vec::<String>::new()), "{none}");
        }
        for bad in [r#"[{"type": "datetime", "name": "t"}]"#, r#"[{"type": {"type": "array"}, "name": "t"}]"#] {
            assert!(names(bad).expect_err(bad).contains("'t'"));
        }
    }
}
