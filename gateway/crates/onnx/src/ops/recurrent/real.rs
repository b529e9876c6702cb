//! Singles and doubles, and weights of either to multiply rows with.

use tract_onnx::tract_hir::internal::*;

use super::vector_math;
use crate::ops::fused_mlp::packed_gemm::PackedGemm;

/// A number that recurrent layers compute with.
pub(super) trait Real: Datum + Copy + PartialOrd + tract_num_traits::Float + std::iter::Sum {
    /// Weights, and what is added to the sums.
    type Matrix: std::fmt::Debug + Send + Sync;

    /// From weights by output; an empty bias is zeros. `None` if the lengths contradict each other.
    fn matrix(weights: &[Self], shape: (usize, usize), bias: &[Self]) -> Option<Self::Matrix>;

    /// Multiplies rows. Each is summed by itself and in the same order, so that its sums have the same bits in any batch.
    fn multiply(matrix: &Self::Matrix, rows: &[Self], out: &mut [Self]);

    /// Bytes of weights.
    fn matrix_bytes(matrix: &Self::Matrix) -> usize;

    /// From a number in a file.
    fn from_f32(value: f32) -> Self;

    /// One over one plus e to the minus each.
    fn sigmoid_all(values: &mut [Self]);

    /// The hyperbolic tangent of each.
    fn tanh_all(values: &mut [Self]);
}

/// Weights of singles, in the layout of dense layers; `None` where a side is empty.
#[derive(Debug)]
pub(super) struct Singles {
    gemm: Option<PackedGemm>,
    bias: Vec<f32>,
}

impl Real for f32 {
    type Matrix = Singles;

    fn matrix(weights: &[Self], (inputs, outputs): (usize, usize), bias: &[Self]) -> Option<Singles> {
        let padded = if bias.is_empty() { vec![0.0; outputs] } else { bias.to_vec() };
        if inputs == 0 || outputs == 0 {
            return Some(Singles { gemm: None, bias: padded });
        }
        let gemm = PackedGemm::new(weights, (inputs, outputs), true, bias, false)?;
        Some(Singles { gemm: Some(gemm), bias: padded })
    }

    fn multiply(matrix: &Singles, rows: &[Self], out: &mut [Self]) {
        match &matrix.gemm {
            Some(gemm) => gemm.apply_in_order(rows, out),
            None => out.chunks_exact_mut(matrix.bias.len().max(1)).for_each(|out| out.copy_from_slice(&matrix.bias)),
        }
    }

    fn matrix_bytes(matrix: &Singles) -> usize {
        matrix.gemm.as_ref().map_or(0, PackedGemm::bytes)
    }

    fn from_f32(value: f32) -> Self {
        value
    }

    fn sigmoid_all(values: &mut [Self]) {
        vector_math::sigmoid(values);
    }

    fn tanh_all(values: &mut [Self]) {
        vector_math::tanh(values);
    }
}

/// Weights of doubles, by input.
#[derive(Debug)]
pub(super) struct Doubles {
    inputs: usize,
    weights: Vec<f64>,
    bias: Vec<f64>,
}

impl Real for f64 {
    type Matrix = Doubles;

    fn matrix(weights: &[Self], (inputs, outputs): (usize, usize), bias: &[Self]) -> Option<Doubles> {
        let fits = inputs.checked_mul(outputs) == Some(weights.len()) && (bias.is_empty() || bias.len() == outputs);
        if !fits {
            return None;
        }
        let by_input =
            (0..inputs).flat_map(|input| weights.iter().skip(input).step_by(inputs.max(1)).copied()).collect();
        let bias = if bias.is_empty() { vec![0.0; outputs] } else { bias.to_vec() };
        Some(Doubles { inputs, weights: by_input, bias })
    }

    fn multiply(matrix: &Doubles, rows: &[Self], out: &mut [Self]) {
        let outputs = matrix.bias.len().max(1);
        for (row, out) in out.chunks_exact_mut(outputs).enumerate() {
            out.copy_from_slice(&matrix.bias);
            let row = &rows[row * matrix.inputs..][..matrix.inputs];
            for (&value, weights) in row.iter().zip(matrix.weights.chunks_exact(outputs)) {
                for (sum, &weight) in out.iter_mut().zip(weights) {
                    *sum += value * weight;
                }
            }
        }
    }

    fn matrix_bytes(matrix: &Doubles) -> usize {
        size_of_val(matrix.weights.as_slice())
    }

    fn from_f32(value: f32) -> Self {
        value.into()
    }

    fn sigmoid_all(values: &mut [Self]) {
        for value in values {
            *value = 1.0 / (1.0 + (-*value).exp());
        }
    }

    fn tanh_all(values: &mut [Self]) {
        for value in values {
            *value = value.tanh();
        }
    }
}
