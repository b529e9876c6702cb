//! Products of rows with constant weights, in blocks that stay in the processor's registers.
//!
//! The weights lie in panels of some outputs each, by input, so that a pass over a panel reads memory in order. Several
//! rows go through a panel together, and each weight that is read serves all of them. One row goes by itself, and its
//! inputs that are zero are left out: after a Relu or an encoder of categories these are most of them.
//!
//! A row's sums have the same bits however many rows there are: each begins with the bias and takes the inputs in order.

#![expect(clippy::inline_always, reason = "what is inlined is compiled for the caller's kind of processor")]

use multiversion::multiversion;
use multiversion::target::target_cfg_f;

/// Outputs in a panel: two vectors of AVX-512, or four of AVX2 in two parts.
const WIDE: usize = 32;

/// Outputs in the last panel, if there are no more left.
const NARROW: usize = 8;

/// Weights, and what is added to and done with the sums.
#[derive(Debug)]
pub(in super::super) struct PackedGemm {
    inputs: usize,
    outputs: usize,
    /// Panel by panel.
    wide: Vec<[f32; WIDE]>,
    /// One panel or none.
    narrow: Vec<[f32; NARROW]>,
    /// Filled up to whole panels.
    bias: Vec<f32>,
    /// Negative sums become 0.
    relu: bool,
    /// Whether zeros may be left out: zero times infinity is no zero.
    finite: bool,
}

impl PackedGemm {
    /// `weights` by input, or by output; `None` if the lengths contradict each other or there are none. An empty bias is
    /// zeros.
    pub(in super::super) fn new(
        weights: &[f32],
        (inputs, outputs): (usize, usize),
        by_output: bool,
        bias: &[f32],
        relu: bool,
    ) -> Option<Self> {
        let fits = inputs.checked_mul(outputs) == Some(weights.len()) && (bias.is_empty() || bias.len() == outputs);
        if !fits || weights.is_empty() {
            return None;
        }
        let at = |input: usize, output: usize| {
            let index = if by_output { output * inputs + input } else { input * outputs + output };
            if output < outputs { weights[index] } else { 0.0 }
        };
        let left = outputs % WIDE;
        let is_narrow = (1..=NARROW).contains(&left);
        let wide = if is_narrow { outputs / WIDE } else { outputs.div_ceil(WIDE) };
        let indices = (0..wide).flat_map(|panel| (0..inputs).map(move |input| (panel * WIDE, input)));
        let wide = indices.map(|(start, input)| std::array::from_fn(|output| at(input, start + output)));
        let narrow = (0..if is_narrow { inputs } else { 0 })
            .map(|input| std::array::from_fn(|output| at(input, outputs - left + output)));
        let mut padded = bias.to_vec();
        padded.resize(outputs.next_multiple_of(WIDE), 0.0);
        let finite = weights.iter().all(|weight| weight.is_finite());
        Some(Self { inputs, outputs, wide: wide.collect(), narrow: narrow.collect(), bias: padded, relu, finite })
    }

    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(in super::super) fn bytes(&self) -> usize {
        size_of_val(self.wide.as_slice()) + size_of_val(self.narrow.as_slice()) + size_of_val(self.bias.as_slice())
    }

    /// Multiplies rows as wide as there are inputs, into rows as wide as there are outputs.
    pub(super) fn apply(&self, rows: &[f32], out: &mut [f32]) {
        if rows.len() == self.inputs && self.finite {
            one_row(self, rows, out);
        } else {
            many_rows(self, rows, out);
        }
    }

    /// Multiplies rows, and sums each in the same order whatever their number: a row's sums have the same bits in any batch.
    pub(in super::super) fn apply_in_order(&self, rows: &[f32], out: &mut [f32]) {
        many_rows(self, rows, out);
    }

    /// Each wide panel, its bias, and its first output.
    #[inline(always)]
    fn panels(&self) -> impl Iterator<Item = (&[[f32; WIDE]], &[f32; WIDE], usize)> {
        let panels = self.wide.chunks_exact(self.inputs).zip(self.bias.as_chunks().0);
        panels.enumerate().map(|(panel, (weights, bias))| (weights, bias, panel * WIDE))
    }

    /// The narrow panel's bias and its first output.
    #[inline(always)]
    fn tail(&self) -> Option<(&[f32; NARROW], usize)> {
        let start = self.wide.len() / self.inputs * WIDE;
        let bias = self.bias.get(start..)?.first_chunk()?;
        (!self.narrow.is_empty()).then_some((bias, start))
    }
}

/// `a * b + c`, rounded once where the processor does that.
#[inline(always)]
fn add_product<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

macro_rules! block {
    ($name:ident, $count:literal, $($row:ident $sums:ident $index:literal),*) => {
        /// Some rows through one part of a panel. Written out row by row, since the compiler keeps the sums of each row
        /// in registers only if they are variables of their own.
        #[inline(always)]
        fn $name<const N: usize, const WIDTH: usize, const FUSED: bool>(
            panel: &[[f32; WIDTH]],
            part: usize,
            bias: &[f32; N],
            rows: &[f32],
        ) -> [[f32; N]; $count] {
            let inputs = panel.len();
            $(let $row = &rows[$index * inputs..][..inputs]; let mut $sums = *bias;)*
            for (input, weights) in panel.iter().enumerate() {
                let weights = &weights.as_chunks::<N>().0[part];
                $(
                    let value = $row[input];
                    for (sum, &weight) in $sums.iter_mut().zip(weights) {
                        *sum = add_product::<FUSED>(value, weight, *sum);
                    }
                )*
            }
            [$($sums),*]
        }
    };
}
block!(block_of_1, 1, r0 s0 0);
block!(block_of_2, 2, r0 s0 0, r1 s1 1);
block!(block_of_4, 4, r0 s0 0, r1 s1 1, r2 s2 2, r3 s3 3);
block!(block_of_6, 6, r0 s0 0, r1 s1 1, r2 s2 2, r3 s3 3, r4 s4 4, r5 s5 5);
block!(block_of_8, 8, r0 s0 0, r1 s1 1, r2 s2 2, r3 s3 3, r4 s4 4, r5 s5 5, r6 s6 6, r7 s7 7);

/// All rows through one part of a panel, `R` at a time; `start` is its first output.
#[inline(always)]
fn part<const R: usize, const N: usize, const WIDTH: usize, const FUSED: bool>(
    gemm: &PackedGemm,
    panel: &[[f32; WIDTH]],
    (part, start): (usize, usize),
    bias: &[f32; N],
    mut rows: &[f32],
    mut out: &mut [f32],
) {
    let (inputs, outputs) = (gemm.inputs, gemm.outputs);
    let width = N.min(outputs.saturating_sub(start));
    loop {
        let left = rows.len() / inputs;
        let done = match (left, R) {
            (8.., 8) => store(gemm, &block_of_8::<N, WIDTH, FUSED>(panel, part, bias, rows), start, width, out),
            (6.., 6) => store(gemm, &block_of_6::<N, WIDTH, FUSED>(panel, part, bias, rows), start, width, out),
            (4.., _) => store(gemm, &block_of_4::<N, WIDTH, FUSED>(panel, part, bias, rows), start, width, out),
            (2.., _) => store(gemm, &block_of_2::<N, WIDTH, FUSED>(panel, part, bias, rows), start, width, out),
            (1.., _) => store(gemm, &block_of_1::<N, WIDTH, FUSED>(panel, part, bias, rows), start, width, out),
            (0, _) => return,
        };
        rows = &rows[done * inputs..];
        out = &mut out[done * outputs..];
    }
}

/// Puts the sums of some rows in their place; tells how many rows.
#[inline(always)]
fn store<const R: usize, const N: usize>(
    gemm: &PackedGemm,
    sums: &[[f32; N]; R],
    start: usize,
    width: usize,
    out: &mut [f32],
) -> usize {
    for (sums, out) in sums.iter().zip(out.chunks_exact_mut(gemm.outputs)) {
        let out = &mut out[start..start + width];
        match out.first_chunk_mut::<N>() {
            Some(out) => put(sums, out, gemm.relu),
            None => put(sums, out, gemm.relu),
        }
    }
    R
}

/// Zeros lose their sign, which would tell whether zero inputs were left out.
#[inline(always)]
fn put(sums: &[f32], out: &mut [f32], relu: bool) {
    for (out, &sum) in out.iter_mut().zip(sums) {
        *out = if relu { rectified(sum) } else { sum } + 0.0;
    }
}

/// A NaN stays one.
#[inline(always)]
fn rectified(sum: f32) -> f32 {
    if sum < 0.0 { 0.0 } else { sum }
}

/// All panels, each in parts of `N` outputs, `R` rows at a time.
#[inline(always)]
fn panels<const R: usize, const N: usize, const FUSED: bool>(gemm: &PackedGemm, rows: &[f32], out: &mut [f32]) {
    for (weights, bias, first) in gemm.panels() {
        for (index, bias) in bias.as_chunks::<N>().0.iter().enumerate() {
            let start = first + index * N;
            if start < gemm.outputs {
                part::<R, N, WIDE, FUSED>(gemm, weights, (index, start), bias, rows, out);
            }
        }
    }
    if let Some((bias, start)) = gemm.tail() {
        part::<R, NARROW, NARROW, FUSED>(gemm, &gemm.narrow, (0, start), bias, rows, out);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn many_rows(gemm: &PackedGemm, rows: &[f32], out: &mut [f32]) {
    // As many sums as there are registers for, less those for the weights and a value.
    match (target_cfg_f!(target_feature = "avx512f"), target_cfg_f!(target_feature = "avx2"), IS_ARM) {
        (true, _, _) => panels::<8, 32, true>(gemm, rows, out),
        (_, true, _) | (_, _, true) => panels::<6, 16, true>(gemm, rows, out),
        _ => panels::<4, 8, false>(gemm, rows, out),
    }
}

/// Has vectors, and fuses products with sums, without being asked what it can do.
const IS_ARM: bool = cfg!(target_arch = "aarch64");

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn one_row(gemm: &PackedGemm, row: &[f32], out: &mut [f32]) {
    match (target_cfg_f!(target_feature = "fma"), IS_ARM) {
        (true, _) | (_, true) => without_zeros::<true>(gemm, row, out),
        _ => without_zeros::<false>(gemm, row, out),
    }
}

/// Inputs whose places and values are gathered before they are multiplied.
const SOME: usize = 256;

#[inline(always)]
fn without_zeros<const FUSED: bool>(gemm: &PackedGemm, row: &[f32], out: &mut [f32]) {
    let mut found = [(0, 0.0); SOME];
    let blocks = row.len().div_ceil(SOME);
    for (block, row) in row.chunks(SOME).enumerate() {
        let mut count = 0;
        for (index, &value) in row.iter().enumerate() {
            found[count] = (index as u32, value);
            count += usize::from(value != 0.0);
        }
        let pass = Pass { found: &found[..count], is_first: block == 0, relu: gemm.relu && block + 1 == blocks };
        let first = block * SOME;
        // Two panels at a time, so that their sums need not wait for each other.
        let panel = |panel: usize| &gemm.wide[panel * gemm.inputs + first..][..row.len()];
        let bias = |panel: usize| gemm.bias[panel * WIDE..].first_chunk().unwrap_or(&[0.0; WIDE]);
        let (mut number, count) = (0, gemm.wide.len() / gemm.inputs);
        while number + 2 <= count {
            let biases = [bias(number), bias(number + 1)];
            two::<FUSED>([panel(number), panel(number + 1)], biases, pass, &mut out[number * WIDE..]);
            number += 2;
        }
        if number < count {
            one::<WIDE, FUSED>(panel(number), bias(number), pass, &mut out[number * WIDE..]);
        }
        if let Some((bias, start)) = gemm.tail() {
            one::<NARROW, FUSED>(&gemm.narrow[first..][..row.len()], bias, pass, &mut out[start..]);
        }
    }
}

/// Some inputs of one row, on their way through the panels.
#[derive(Clone, Copy)]
struct Pass<'a> {
    /// Places within the panel, and values.
    found: &'a [(u32, f32)],
    /// Sums begin with the bias, else with what is there.
    is_first: bool,
    relu: bool,
}

#[inline(always)]
fn one<const N: usize, const FUSED: bool>(panel: &[[f32; N]], bias: &[f32; N], pass: Pass<'_>, out: &mut [f32]) {
    let start = if pass.is_first { *bias } else { begun(out) };
    let sums = sums_of_one::<N, FUSED>(panel, &start, pass.found);
    store_one(&sums, pass, out);
}

#[inline(always)]
fn two<const FUSED: bool>(panels: [&[[f32; WIDE]]; 2], biases: [&[f32; WIDE]; 2], pass: Pass<'_>, out: &mut [f32]) {
    let (out, rest) = out.split_at_mut(WIDE);
    let starts = if pass.is_first { [*biases[0], *biases[1]] } else { [begun(out), begun(rest)] };
    // Copies of their own, which the compiler keeps in registers.
    let (mut first, mut second) = (starts[0], starts[1]);
    for &(index, value) in pass.found {
        for (sum, &weight) in first.iter_mut().zip(&panels[0][index as usize]) {
            *sum = add_product::<FUSED>(value, weight, *sum);
        }
        for (sum, &weight) in second.iter_mut().zip(&panels[1][index as usize]) {
            *sum = add_product::<FUSED>(value, weight, *sum);
        }
    }
    store_one(&first, pass, out);
    store_one(&second, pass, rest);
}

#[inline(always)]
fn sums_of_one<const N: usize, const FUSED: bool>(
    panel: &[[f32; N]],
    start: &[f32; N],
    found: &[(u32, f32)],
) -> [f32; N] {
    let mut sums = *start;
    for &(index, value) in found {
        for (sum, &weight) in sums.iter_mut().zip(&panel[index as usize]) {
            *sum = add_product::<FUSED>(value, weight, *sum);
        }
    }
    sums
}

/// The sums of earlier inputs; the last panel may have fewer than it has room for.
#[inline(always)]
fn begun<const N: usize>(out: &[f32]) -> [f32; N] {
    match out.first_chunk::<N>() {
        Some(sums) => *sums,
        None => std::array::from_fn(|index| out.get(index).copied().unwrap_or(0.0)),
    }
}

#[inline(always)]
fn store_one<const N: usize>(sums: &[f32; N], pass: Pass<'_>, out: &mut [f32]) {
    match out.first_chunk_mut::<N>() {
        Some(out) => put(sums, out, pass.relu),
        None => put(sums, out, pass.relu),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers, small enough to be summed without rounding.
    fn numbers(count: usize, modulus: usize) -> Vec<f32> {
        (0..count).map(|index| (index * 7 % modulus) as f32 - (modulus / 2) as f32).collect()
    }

    #[test]
    fn any_shape_and_number_of_rows_is_multiplied() {
        for (inputs, outputs) in [(1, 1), (3, 8), (5, 9), (54, 31), (7, 32), (300, 40), (257, 64), (20, 100), (2, 7)] {
            let (weights, bias) = (numbers(inputs * outputs, 13), numbers(outputs, 5));
            for relu in [false, true] {
                let gemm = PackedGemm::new(&weights, (inputs, outputs), false, &bias, relu).unwrap();
                for rows in 1..20 {
                    let values = numbers(rows * inputs, 9);
                    let mut out = vec![0.0; rows * outputs];
                    gemm.apply(&values, &mut out);
                    let expected = (0..rows * outputs).map(|index| {
                        let (row, output) = (index / outputs, index % outputs);
                        let products =
                            (0..inputs).map(|input| values[row * inputs + input] * weights[input * outputs + output]);
                        let sum = bias[output] + products.sum::<f32>();
                        if relu { sum.max(0.0) } else { sum }
                    });
                    assert_eq!(out, expected.collect::<Vec<_>>(), "{inputs} to {outputs}, {rows} rows");
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_batch() {
        let mut seed = 1u32;
        let mut random = move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            match seed >> 28 {
                0..4 => 0.0,
                4 => -0.0,
                5 => f32::from_bits(seed >> 12),
                6 => f32::from_bits(seed & 0x8fff_ffff),
                _ => (seed >> 8) as f32 / 8e6 - 1.0,
            }
        };
        for (inputs, outputs) in [(1, 1), (5, 9), (54, 31), (7, 32), (300, 40), (257, 64), (520, 100), (2, 7)] {
            let weights: Vec<f32> = (0..inputs * outputs).map(|_| random()).collect();
            let bias: Vec<f32> = (0..outputs).map(|_| random()).collect();
            let gemm = PackedGemm::new(&weights, (inputs, outputs), false, &bias, false).unwrap();
            let rows: Vec<f32> = (0..20 * inputs).map(|_| random()).collect();
            let bits = |count: usize| {
                let mut out = vec![0.0; 20 * outputs];
                let batches = rows.chunks(count * inputs).zip(out.chunks_mut(count * outputs));
                batches.for_each(|(rows, out)| gemm.apply(rows, out));
                out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let alone = bits(1);
            for count in 2..=20 {
                assert_eq!(bits(count), alone, "{inputs} to {outputs}, {count} rows");
            }
        }
    }

    #[test]
    fn weights_come_by_output_too() {
        let by_output = PackedGemm::new(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (3, 2), true, &[], false).unwrap();
        let mut out = [0.0; 2];
        by_output.apply(&[1.0, 0.0, 2.0], &mut out);
        assert!(out.iter().zip([7.0, 16.0]).all(|(one, other)| (one - other).abs() < 1e-9));
    }

    #[test]
    fn what_is_not_finite_counts() {
        let gemm = PackedGemm::new(&[f32::INFINITY, 1.0], (2, 1), false, &[], false).unwrap();
        let mut out = [0.0];
        gemm.apply(&[0.0, 1.0], &mut out);
        assert!(out[0].is_nan());
        let gemm = PackedGemm::new(&[1.0, 1.0], (2, 1), false, &[], true).unwrap();
        gemm.apply(&[f32::NAN, 1.0], &mut out);
        assert!(out[0].is_nan());
    }

    #[test]
    fn lengths_have_to_agree() {
        assert!(PackedGemm::new(&[1.0; 5], (3, 2), false, &[], false).is_none());
        assert!(PackedGemm::new(&[1.0; 6], (3, 2), false, &[1.0], false).is_none());
        assert!(PackedGemm::new(&[], (0, 2), false, &[], false).is_none());
    }
}
