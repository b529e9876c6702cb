//! Packed trees with their leaves and what their sums start from.

use crate::error::{Read, Reader};
use crate::layout::{Habits, Narrow, Trees, Value, Wide};
use crate::leaves::{Leaves, Sum};
use crate::traverse::Traversal;
use crate::trees::{MOST_SCORES, Sets, Tree};

/// Trees over values of type `T` with sums of type `V`.
#[derive(Clone, Debug)]
pub(crate) struct Forest<T: Value, V: Sum> {
    shape: Shape<T>,
    leaves: Leaves<V>,
    sets: Sets,
    habits: Habits,
    /// The sum of no trees, for each score.
    base: Vec<V>,
    features: usize,
}

#[derive(Clone, Debug)]
enum Shape<T: Value> {
    Narrow(Trees<Narrow<T>>),
    Wide(Trees<Wide<T>>),
}

/// The parts of a forest.
#[derive(Debug)]
pub(crate) struct Parts<V> {
    pub(crate) trees: Vec<Tree>,
    pub(crate) leaves: Leaves<V>,
    pub(crate) sets: Sets,
    pub(crate) habits: Habits,
    pub(crate) base: Vec<V>,
    pub(crate) features: usize,
}

impl<T: Value, V: Sum> Forest<T, V> {
    /// Checks the parts and packs them.
    pub(crate) fn new(reader: Reader, parts: Parts<V>) -> Read<Self> {
        let Parts { trees, leaves, sets, habits, base, features } = parts;
        if base.is_empty() || base.len() > MOST_SCORES {
            return Err(reader.corrupt(format!("it has {} scores; 1 to {MOST_SCORES} are taken", base.len())));
        }
        let depths = trees.iter().enumerate().map(|(index, tree)| {
            if tree.score as usize >= base.len() {
                return Err(reader.corrupt(format!("tree {index} adds to score {}", tree.score)));
            }
            tree.check(reader, index, features)
        });
        let depths = depths.collect::<Read<Vec<_>>>()?;
        let count = match &leaves {
            Leaves::Scalar(values) => values.len(),
            Leaves::Vector(values) => values.len() / base.len(),
            Leaves::Linear(leaves) => {
                let terms = leaves.iter().flat_map(|leaf| &leaf.terms);
                if terms.clone().any(|&(feature, _)| feature as usize >= features) {
                    return Err(reader.corrupt("a leaf asks a feature that there is not"));
                }
                leaves.len()
            }
        };
        let numbers = trees.iter().flat_map(|tree| &tree.nodes).filter_map(|node| match node {
            crate::trees::Node::Leaf(number) => Some(*number as usize),
            crate::trees::Node::Branch { .. } => None,
        });
        if numbers.max().is_some_and(|most| most >= count) {
            return Err(reader.corrupt("a leaf has no value"));
        }
        let shape = match Trees::pack(reader, &trees, &depths, count)?.map(Shape::Narrow) {
            Some(shape) => Some(shape),
            None => Trees::pack(reader, &trees, &depths, count)?.map(Shape::Wide),
        };
        let shape = shape.ok_or_else(|| reader.unsupported("trees of more than two thousand million nodes"))?;
        Ok(Self { shape, leaves, sets, habits, base, features })
    }

    /// Scores of a row.
    pub(crate) fn scores(&self) -> usize {
        self.base.len()
    }

    /// Features of a row.
    pub(crate) fn features(&self) -> usize {
        self.features
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let trees = match &self.shape {
            Shape::Narrow(trees) => trees.bytes(),
            Shape::Wide(trees) => trees.bytes(),
        };
        let leaves = match &self.leaves {
            Leaves::Scalar(values) | Leaves::Vector(values) => size_of_val(values.as_slice()),
            Leaves::Linear(leaves) => {
                leaves.iter().map(|leaf| size_of_val(leaf) + size_of_val(leaf.terms.as_slice())).sum()
            }
        };
        trees + leaves + self.sets.bytes()
    }

    /// The sums of each row of `width` values, behind one another. `width` is at least [`features`](Self::features) and 1.
    pub(crate) fn sum(&self, rows: &[T], width: usize) -> Vec<V> {
        let stride = self.base.len();
        let mut sums = Vec::with_capacity(rows.len() / width * stride);
        for _ in 0..rows.len() / width {
            sums.extend_from_slice(&self.base);
        }
        let (leaves, sets, habits) = (&self.leaves, &self.sets, self.habits);
        match &self.shape {
            Shape::Narrow(trees) => Traversal { trees, leaves, sets, habits }.sum(rows, width, stride, &mut sums),
            Shape::Wide(trees) => Traversal { trees, leaves, sets, habits }.sum(rows, width, stride, &mut sums),
        }
        sums
    }
}
