//! Layers of a network that follow each other: `MatMul` or `Gemm` with constant weights, a bias, a `Relu`, and in the end a
//! `Softmax`.

use tract_onnx::pb::TensorProto;

use super::super::ops;
use super::{SINGLE, Work, int, int_list, is_standard, tensor_list};

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
    pub(super) fn fuse_layers(&mut self, at: usize) -> Option<()> {
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
}
