//! The traversal of packed trees: sixteen at once for one row, since one traversal waits for memory at every step.

use crate::layout::{Habits, Packed, Root, Trees, Value, ZERO};
use crate::leaves::{Leaves, Sum};
use crate::trees::Sets;

const LANES: usize = 16;

/// Rows that go through a group of trees before the next: few enough that their values and sums stay in the first-level
/// cache, enough that the trees need not come from memory for each.
const BLOCK: usize = 256;

/// Trees to be traversed.
#[derive(Debug)]
pub(crate) struct Traversal<'a, N: Packed, V: Sum> {
    pub(crate) trees: &'a Trees<N>,
    pub(crate) leaves: &'a Leaves<V>,
    pub(crate) sets: &'a Sets,
    pub(crate) habits: Habits,
}

impl<N: Packed, V: Sum> Traversal<'_, N, V> {
    /// Adds the leaves of each row, tree by tree in their order, to its `stride` sums. Rows have `width` values, as many as
    /// the trees ask for at least.
    pub(crate) fn sum(&self, rows: &[N::Value], width: usize, stride: usize, sums: &mut [V]) {
        let mut plain = [true; BLOCK];
        let mut cleaned = Vec::new();
        for (rows, sums) in rows.chunks(width * BLOCK).zip(sums.chunks_mut(stride * BLOCK)) {
            let rows = self.look(rows, width, &mut plain, &mut cleaned);
            for group in self.trees.roots.chunks(LANES) {
                for ((row, sums), &plain) in rows.chunks_exact(width).zip(sums.chunks_exact_mut(stride)).zip(&plain) {
                    if plain {
                        self.group::<false>(group, row, sums);
                    } else {
                        self.group::<true>(group, row, sums);
                    }
                }
            }
        }
    }

    /// Notes for which rows a plain comparison is right everywhere, and makes zeros of what the library takes for zero.
    fn look<'r>(
        &self,
        rows: &'r [N::Value],
        width: usize,
        plain: &mut [bool],
        cleaned: &'r mut Vec<N::Value>,
    ) -> &'r [N::Value] {
        let is_tiny = |value: N::Value| value.double().abs() <= ZERO;
        let finds_zeros = self.habits == Habits::LightGbm;
        let mut has_tiny = false;
        for (plain, row) in plain.iter_mut().zip(rows.chunks_exact(width)) {
            let (mut missing, mut tiny) = (false, false);
            for &value in row {
                missing |= value.partial_cmp(&value).is_none();
                tiny |= finds_zeros && is_tiny(value) && value.double() != 0.0;
            }
            let zero = self.trees.has_zero_rules && row.iter().any(|&value| is_tiny(value));
            has_tiny |= tiny;
            *plain = !(missing || zero || self.trees.has_sets);
        }
        if !has_tiny {
            return rows;
        }
        cleaned.clear();
        cleaned.extend(rows.iter().map(|&value| if is_tiny(value) { N::Value::default() } else { value }));
        cleaned
    }

    #[inline]
    fn group<const RULED: bool>(&self, group: &[Root], row: &[N::Value], sums: &mut [V]) {
        // A group that is not full traverses its last tree more than once, and counts it once.
        let mut at = [0; LANES];
        let mut depth = 0;
        for (lane, at) in at.iter_mut().enumerate() {
            let root = group[lane.min(group.len() - 1)];
            *at = root.at as usize;
            depth = root.depth.max(depth);
        }
        self.descend::<RULED>(depth, &mut at, row);
        let leaf = |at: usize| self.trees.nodes[at].threshold().leaf_number() as usize;
        match self.leaves {
            Leaves::Scalar(values) if sums.len() == 1 => {
                let mut sum = sums[0];
                for &at in &at[..group.len()] {
                    sum = sum.plus(values[leaf(at)]);
                }
                sums[0] = sum;
            }
            Leaves::Scalar(values) => {
                for (root, &at) in group.iter().zip(&at) {
                    let sum = &mut sums[root.score as usize];
                    *sum = sum.plus(values[leaf(at)]);
                }
            }
            Leaves::Vector(values) => {
                for &at in &at[..group.len()] {
                    let values = values[leaf(at) * sums.len()..].iter();
                    for (sum, &value) in sums.iter_mut().zip(values) {
                        *sum = sum.plus(value);
                    }
                }
            }
            Leaves::Linear(leaves) => {
                for (root, &at) in group.iter().zip(&at) {
                    let sum = &mut sums[root.score as usize];
                    *sum = sum.plus(leaves[leaf(at)].value(row));
                }
            }
        }
    }

    /// Takes each lane that many steps down.
    #[inline]
    fn descend<const RULED: bool>(&self, depth: u32, at: &mut [usize; LANES], row: &[N::Value]) {
        let nodes = self.trees.nodes.as_slice();
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
                    let rule = self.trees.rules[*at];
                    if let Some(set) = rule.set() {
                        left = self.habits.is_member(self.sets, set, value);
                    }
                    if let Some(zero) = rule.zero()
                        && value == N::Value::default()
                    {
                        left = zero;
                    }
                    left |= rule.missing_left() & value.partial_cmp(&value).is_none();
                }
                *at = at.wrapping_add_signed(node.step()) + usize::from(!left);
            }
        }
    }
}
