//! Symmetric trees: all nodes of a level ask the same, so that the answers of a row are the bits of its leaf's number.

use super::READER;
use crate::error::Read;

/// Rows that are made bytes and scored at once.
pub(super) const BLOCK: usize = 128;

/// The deepest tree taken, as CatBoost's own.
const DEEPEST: usize = 16;

/// Rows from which on the bits of many rows are found at once.
const MANY: usize = 16;

/// The depth of trees that are taken several at once, and how many are.
const SIX: u8 = 6;
const GROUP: usize = 8;

/// A question: whether a byte, some of its bits turned over, is at least a bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    pub(super) plane: u32,
    pub(super) xor: u8,
    pub(super) least: u8,
}

impl Split {
    /// The answer for one of so many rows.
    #[inline]
    pub(super) fn holds(self, bins: &[u8], rows: usize, row: usize) -> bool {
        (bins[self.plane as usize * rows + row] ^ self.xor) >= self.least
    }
}

/// The trees.
#[derive(Debug)]
pub(super) struct Symmetric {
    /// The splits of all trees, the lowest bit's first.
    splits: Vec<Split>,
    depths: Vec<u8>,
    leaves: Vec<f64>,
    dimension: usize,
}

impl Symmetric {
    pub(super) fn new(trees: &[Vec<usize>], all: &[Split], leaves: Vec<f64>, dimension: usize) -> Read<Self> {
        let mut splits = Vec::new();
        let mut depths = Vec::with_capacity(trees.len());
        let mut needed = 0usize;
        for (index, tree) in trees.iter().enumerate() {
            if tree.len() > DEEPEST {
                return Err(READER.corrupt(format!("tree {index} has {} levels", tree.len())));
            }
            for &number in tree {
                let split =
                    all.get(number).ok_or_else(|| READER.corrupt(format!("tree {index} has no split {number}")))?;
                splits.push(*split);
            }
            depths.push(tree.len() as u8);
            needed = needed.saturating_add((1usize << tree.len()).saturating_mul(dimension));
        }
        if needed != leaves.len() {
            return Err(READER.corrupt(format!("its trees have {needed} values, and {} are told", leaves.len())));
        }
        Ok(Self { splits, depths, leaves, dimension })
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.splits.as_slice()) + self.depths.len() + size_of_val(self.leaves.as_slice())
    }

    /// Adds the leaves of each row to its sums, tree by tree. `bins` has a plane of `rows` bytes for each feature.
    pub(super) fn sum(&self, bins: &[u8], rows: usize, sums: &mut [f64]) {
        let mut padded = Vec::new();
        let bins = if (MANY..BLOCK).contains(&rows) {
            // Planes of a block's size, so that one kernel serves all.
            padded.resize(bins.len() / rows * BLOCK, 0);
            for (plane, source) in padded.chunks_mut(BLOCK).zip(bins.chunks(rows)) {
                plane[..rows].copy_from_slice(source);
            }
            padded.as_slice()
        } else {
            bins
        };
        let (mut splits, mut leaves) = (self.splits.as_slice(), self.leaves.as_slice());
        let mut depths = self.depths.as_slice();
        while let Some(&depth) = depths.first() {
            // Six levels are usual. Several such trees at once read and write a row's sum once.
            if rows >= MANY
                && self.dimension == 1
                && depths.first_chunk::<GROUP>() == Some(&[SIX; GROUP])
                && let Some((values, other_leaves)) = leaves.split_first_chunk::<{ GROUP << SIX }>()
            {
                let (trees, other_splits) = splits.split_at(GROUP * SIX as usize);
                sum_group(trees, values.as_chunks().0, bins, sums);
                (splits, leaves, depths) = (other_splits, other_leaves, &depths[GROUP..]);
                continue;
            }
            let (tree, other_splits) = splits.split_at(depth as usize);
            let (values, other_leaves) = leaves.split_at((1usize << depth) * self.dimension);
            (splits, leaves, depths) = (other_splits, other_leaves, &depths[1..]);
            if rows < MANY {
                self.few(tree, values, bins, rows, sums);
            } else if depth <= 8 {
                let mut indices = [0; BLOCK];
                shallow(tree, bins, &mut indices);
                self.add(values, indices.iter().map(|&index| index as usize), sums);
            } else {
                let mut indices = [0; BLOCK];
                deep(tree, bins, &mut indices);
                self.add(values, indices.iter().map(|&index| index as usize), sums);
            }
        }
    }

    #[inline]
    fn add(&self, values: &[f64], indices: impl Iterator<Item = usize>, sums: &mut [f64]) {
        if self.dimension == 1 {
            for (sum, index) in sums.iter_mut().zip(indices) {
                *sum += values[index];
            }
            return;
        }
        for (sums, index) in sums.chunks_exact_mut(self.dimension).zip(indices) {
            for (sum, value) in sums.iter_mut().zip(&values[index * self.dimension..]) {
                *sum += value;
            }
        }
    }

    fn few(&self, tree: &[Split], values: &[f64], bins: &[u8], rows: usize, sums: &mut [f64]) {
        for (row, sums) in sums.chunks_exact_mut(self.dimension).enumerate() {
            let mut index = 0;
            for (level, split) in tree.iter().enumerate() {
                index |= usize::from(split.holds(bins, rows, row)) << level;
            }
            for (sum, value) in sums.iter_mut().zip(&values[index * self.dimension..]) {
                *sum += value;
            }
        }
    }
}

/// Adds the leaves of a group of trees of six levels, in their order, to the sums of up to a block of rows.
fn sum_group(splits: &[Split], leaves: &[[f64; 1 << SIX]], bins: &[u8], sums: &mut [f64]) {
    let mut indices = [[0u8; BLOCK]; GROUP];
    for (tree, indices) in splits.chunks_exact(SIX as usize).zip(&mut indices) {
        shallow(tree, bins, indices);
    }
    let Ok(leaves) = <&[[f64; 1 << SIX]; GROUP]>::try_from(leaves) else { return };
    for (row, sum) in sums.iter_mut().enumerate().take(BLOCK) {
        let mut all = *sum;
        for (indices, leaves) in indices.iter().zip(leaves) {
            all += leaves[indices[row] as usize % (1 << SIX)];
        }
        *sum = all;
    }
}

#[multiversion::multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
fn shallow(tree: &[Split], bins: &[u8], indices: &mut [u8; BLOCK]) {
    for (level, split) in tree.iter().enumerate() {
        let start = split.plane as usize * BLOCK;
        let Some(plane) = bins.get(start..).and_then(<[u8]>::first_chunk::<BLOCK>) else { return };
        let bit = 1u8 << level;
        for (index, &bin) in indices.iter_mut().zip(plane) {
            *index |= if (bin ^ split.xor) >= split.least { bit } else { 0 };
        }
    }
}

#[multiversion::multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
fn deep(tree: &[Split], bins: &[u8], indices: &mut [u16; BLOCK]) {
    for (level, split) in tree.iter().enumerate() {
        let start = split.plane as usize * BLOCK;
        let Some(plane) = bins.get(start..).and_then(<[u8]>::first_chunk::<BLOCK>) else { return };
        let bit = 1u16 << level;
        for (index, &bin) in indices.iter_mut().zip(plane) {
            *index |= if (bin ^ split.xor) >= split.least { bit } else { 0 };
        }
    }
}
