//! The one thing that is read from an `MLmodel` file: where the ONNX flavour keeps its graph.

/// The path of the graph in the model's folder. `MLmodel` is YAML as MLflow's own writer makes it: block style, a nested
/// mapping indented deeper than its key, plain or quoted scalars on one line.
pub(super) fn onnx_path(text: &str) -> Option<String> {
    let mut path: Vec<(usize, String)> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let indent = line.len() - trimmed.len();
        path.retain(|(depth, _)| *depth < indent);
        let Some((key, value)) = trimmed.split_once(':') else { continue };
        let value = value.trim().trim_matches(|quote| matches!(quote, '"' | '\''));
        path.push((indent, key.trim().to_owned()));
        let keys: Vec<_> = path.iter().map(|(_, key)| key.as_str()).collect();
        if keys == ["flavors", "onnx", "data"] && !value.is_empty() {
            return Some(value.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_onnx_flavour_is_found() {
        let text = "artifact_path: model\nflavors:\n  onnx:\n    code: null\n    data: model.onnx\n    onnx_version: 1.16.0\n  \
                    python_function:\n    data: other.onnx\n    loader_module: mlflow.onnx\nmlflow_version: 2.3.0\n";
        assert_eq!(onnx_path(text).as_deref(), Some("model.onnx"));
        assert_eq!(onnx_path("flavors:\n  onnx:\n    data: 'a b.onnx'\n").as_deref(), Some("a b.onnx"));
        for none in ["", "flavors:\n  sklearn:\n    data: model.pkl\n", "onnx:\n  data: x\n", "<html>: oops", "data: x"]
        {
            assert_eq!(onnx_path(none), None, "{none}");
        }
    }
}
