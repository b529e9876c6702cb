//! The traversal of packed trees.
//!
//! One traversal waits for memory at every step, so sixteen trees are traversed at once, for one row after the other. Measured on
//! 80 trees of depth 12: 4 at once take 2.2 µs a row, 8 take 1.3, 16 take 1.1. Eight rows at once through one tree, their
//! values transposed, were no faster than this at any batch size.

use super::layout::{Packed, Root, Scalar, Test, Trees};

const LANES: usize = 16;

/// Rows that go through a group of trees before the next: few enough that their values and sums stay in the first-level
/// cache, enough that the trees need not come from memory for each.
const BLOCK: usize = 256;

/// The summands of a leaf in a row's sums.
///
/// Sums are doubles: it costs little beside the traversals, and ties come out as ties. They start at `-0.0`, which only stays
/// if nothing is added, for `-0.0 + 0.0` is `0.0`.
pub(super) trait Add {
    /// Adds the votes of this leaf.
    fn add(&self, leaf: u32, sums: &mut [f64]);
}

impl<T: Scalar> Add for Vec<(u32, T)> {
    #[inline]
    fn add(&self, leaf: u32, sums: &mut [f64]) {
        let (class, weight) = self[leaf as usize];
        sums[class as usize] += weight.to_f64();
    }
}

impl<T: Scalar, const K: usize> Add for Vec<[T; K]> {
    #[inline]
    fn add(&self, leaf: u32, sums: &mut [f64]) {
        let weights = &self[leaf as usize];
        if let Some(sums) = sums.first_chunk_mut::<K>() {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += weight.to_f64();
            }
        }
    }
}

/// The votes of leaf `i` are `votes[starts[i]..starts[i + 1]]`.
#[derive(Clone, Debug, Default)]
pub(super) struct SparseVotes<T> {
    /// One more than there are leaves.
    pub(super) starts: Vec<u32>,
    /// (class, weight) of all leaves.
    pub(super) votes: Vec<(u32, T)>,
}

impl<T: Scalar> Add for SparseVotes<T> {
    #[inline]
    fn add(&self, leaf: u32, sums: &mut [f64]) {
        for &(class, weight) in self.votes(leaf) {
            sums[class as usize] += weight.to_f64();
        }
    }
}

impl<T> SparseVotes<T> {
    #[inline]
    fn votes(&self, leaf: u32) -> &[(u32, T)] {
        let leaf = leaf as usize;
        &self.votes[self.starts[leaf] as usize..self.starts[leaf + 1] as usize]
    }
}

/// Votes of which the greatest counts (or the least, unless `greatest`), not the sum.
#[derive(Clone, Debug)]
pub(super) struct Extreme<V> {
    pub(super) votes: V,
    pub(super) greatest: bool,
}

impl<T: Scalar> Add for Extreme<SparseVotes<T>> {
    fn add(&self, leaf: u32, sums: &mut [f64]) {
        for &(class, weight) in self.votes.votes(leaf) {
            let (sum, weight) = (&mut sums[class as usize], weight.to_f64());
            let none = *sum == 0.0 && sum.is_sign_negative();
            if none || (weight > *sum) == self.greatest {
                *sum = weight;
            }
        }
    }
}

/// Sums the votes of each row; `stride` places for the sums of one row.
pub(super) fn sum<N: Packed>(
    trees: &Trees<N>,
    votes: &impl Add,
    stride: usize,
    rows: &[N::Value],
    width: usize,
    each: &mut impl FnMut(usize, &[f64]),
) {
    // Room on the stack for one row of few classes, which then allocates nothing.
    let mut few = [0.0; 16];
    let mut many = Vec::new();
    let needed = stride * BLOCK.min(rows.len() / width);
    let sums = if needed <= few.len() {
        &mut few[..needed]
    } else {
        many.resize(needed, 0.0);
        &mut many[..]
    };
    let mut plain = [trees.rules.is_empty(); BLOCK];
    for (block, rows) in rows.chunks(width * BLOCK).enumerate() {
        if !trees.rules.is_empty() {
            for (plain, row) in plain.iter_mut().zip(rows.chunks_exact(width)) {
                *plain = !trees.has_equal && !row.iter().any(|value| value.is_nan());
            }
        }
        sums.fill(-0.0);
        for group in trees.roots.chunks(LANES) {
            for ((row, sums), &plain) in rows.chunks_exact(width).zip(sums.chunks_exact_mut(stride)).zip(&plain) {
                if plain {
                    sum_group::<N, false>(trees, group, votes, row, sums);
                } else {
                    sum_group::<N, true>(trees, group, votes, row, sums);
                }
            }
        }
        for (row, sums) in sums.chunks_exact(stride).take(rows.len() / width).enumerate() {
            each(block * BLOCK + row, sums);
        }
    }
}

/// One row through a group of trees; `RULED` if a plain comparison might be wrong for it.
#[inline]
fn sum_group<N: Packed, const RULED: bool>(
    trees: &Trees<N>,
    group: &[Root],
    votes: &impl Add,
    row: &[N::Value],
    sums: &mut [f64],
) {
    // A group that is not full traverses its last tree more than once, and counts it once.
    let mut at = [0; LANES];
    for (lane, at) in at.iter_mut().enumerate() {
        *at = group[lane.min(group.len() - 1)].at as usize;
    }
    descend::<N, RULED>(trees, group[group.len() - 1].depth, &mut at, row);
    for &at in &at[..group.len()] {
        votes.add(trees.nodes[at].threshold().leaf_id(), sums);
    }
}

/// Takes each lane that many steps down.
#[inline]
fn descend<N: Packed, const RULED: bool>(trees: &Trees<N>, depth: u32, at: &mut [usize; LANES], row: &[N::Value]) {
    let nodes = trees.nodes.as_slice();
    for step in 0..depth {
        // Deep trees are seldom full: look now and then whether all traversals have ended.
        if step >= 12 && step % 4 == 0 && at.iter().all(|&at| nodes[at].step() == -1) {
            return;
        }
        for at in at.iter_mut() {
            let node = nodes[*at];
            let value = row[node.feature()];
            let mut left = value <= node.threshold();
            if RULED {
                let rule = trees.rules[*at];
                match rule.test {
                    Test::AtMost => {}
                    Test::Equal => left = value == node.threshold(),
                    Test::Member => left = trees.is_member(*at, value),
                }
                left |= rule.missing_left & value.is_nan();
            }
            *at = at.wrapping_add_signed(node.step()) + usize::from(!left);
        }
    }
}
