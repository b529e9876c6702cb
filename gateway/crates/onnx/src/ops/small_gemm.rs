//! Rows times a small matrix of weights.

/// Weights of some outputs over some features, kept as each of the two ways to multiply wants them.
#[derive(Clone, Debug)]
pub(super) struct SmallGemm {
    features: usize,
    outputs: usize,
    /// By output if there are few of them, else by feature.
    weights: Vec<f32>,
    bias: Vec<f32>,
}

/// Up to here each output is a dot product of its own; more are summed side by side.
const FEW: usize = 3;

impl SmallGemm {
    /// `weights` by output; `None` if the lengths contradict each other. An empty bias is zeros; without weights there must
    /// be one, since nothing else bounds the outputs.
    pub(super) fn new(weights: &[f32], bias: &[f32], outputs: usize) -> Option<Self> {
        let features = weights.len().checked_div(outputs)?;
        let fits = if bias.is_empty() { features > 0 } else { bias.len() == outputs };
        if features * outputs != weights.len() || !fits {
            return None;
        }
        let bias = if bias.is_empty() { vec![0.0; outputs] } else { bias.to_vec() };
        let weights = if outputs <= FEW || features == 0 {
            weights.to_vec()
        } else {
            (0..features).flat_map(|feature| weights.iter().skip(feature).step_by(features).copied()).collect()
        };
        Some(Self { features, outputs, weights, bias })
    }

    pub(super) fn features(&self) -> usize {
        self.features
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.weights.as_slice()) + size_of_val(self.bias.as_slice())
    }

    /// The sums of one row, as wide as there are features.
    #[inline]
    pub(super) fn row(&self, row: &[f32], sums: &mut [f32]) {
        sums.copy_from_slice(&self.bias);
        if self.features == 0 {
            return;
        }
        if self.outputs <= FEW {
            for (sum, weights) in sums.iter_mut().zip(self.weights.chunks_exact(self.features)) {
                *sum += dot(row, weights);
            }
        } else {
            for (&value, weights) in row.iter().zip(self.weights.chunks_exact(self.outputs)) {
                for (sum, &weight) in sums.iter_mut().zip(weights) {
                    *sum += value * weight;
                }
            }
        }
    }
}

/// The product of two lists, summed in eight lanes.
#[inline]
pub(super) fn dot(one: &[f32], other: &[f32]) -> f32 {
    fold(one, other, |x, y| x * y)
}

/// The sum of `term` over pairs, in eight lanes.
#[inline]
pub(super) fn fold(one: &[f32], other: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (ones, one_rest) = one.as_chunks::<8>();
    let (others, other_rest) = other.as_chunks::<8>();
    for (one, other) in ones.iter().zip(others) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(one).zip(other) {
            *lane += term(x, y);
        }
    }
    let rest: f32 = one_rest.iter().zip(other_rest).map(|(&x, &y)| term(x, y)).sum();
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "small whole numbers")]
    fn few_and_many_outputs_agree() {
        let weights: Vec<f32> = (0..20 * 11).map(|index| (index % 7) as f32 - 3.0).collect();
        let row: Vec<f32> = (0..11).map(|index| (index % 5) as f32).collect();
        let bias: Vec<f32> = (0..20).map(|index| index as f32).collect();
        let mut many = vec![0.0; 20];
        SmallGemm::new(&weights, &bias, 20).unwrap().row(&row, &mut many);
        for (output, sum) in many.into_iter().enumerate() {
            let mut one = [0.0];
            let weights = &weights[output * 11..(output + 1) * 11];
            SmallGemm::new(weights, &bias[output..=output], 1).unwrap().row(&row, &mut one);
            assert_eq!(one[0], sum);
        }
        assert!(SmallGemm::new(&weights[1..], &bias, 20).is_none());
        assert!(SmallGemm::new(&weights, &bias[1..], 20).is_none());
        assert!(SmallGemm::new(&weights, &[], 0).is_none());
    }
}
