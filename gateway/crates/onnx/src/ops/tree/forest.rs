//! An ensemble ready to be asked: packed trees and their leaves' votes.

use std::collections::HashMap;

use super::layout::{Narrow, Packed, Scalar, Trees, Wide};
use super::mode::Mode;
use super::spec::{Spec, TreeError};
use super::traverse::{Extreme, SparseVotes, sum};
use modelgate_throttle::GivingWay;

/// An ensemble of trees that sums votes for classes, from feature values of type `T`.
#[derive(Clone, Debug)]
pub struct Forest<T: Scalar> {
    classes: usize,
    features: usize,
    trees: Shape<T>,
    votes: Votes<T>,
}

#[derive(Clone, Debug)]
enum Shape<T: Scalar> {
    Narrow(Trees<Narrow<T>>),
    Wide(Trees<Wide<T>>),
}

/// The votes of each leaf.
#[derive(Clone, Debug)]
enum Votes<T> {
    /// At most one vote in each leaf, as in boosted trees.
    One(Vec<(u32, T)>),
    /// A weight for each of few classes.
    Dense4(Vec<[T; 4]>),
    Dense8(Vec<[T; 8]>),
    /// Any number of votes.
    Sparse(SparseVotes<T>),
    /// The greatest or the least instead of the sum.
    Extreme(Extreme<SparseVotes<T>>),
}

impl<T: Scalar> Forest<T> {
    /// Packs a checked ensemble.
    pub fn new(spec: &Spec) -> Result<Self, TreeError> {
        Self::pack(spec, Votes::pack(spec))
    }

    /// Packs a checked ensemble of which the greatest vote for a class counts, or the least one.
    pub fn extreme(spec: &Spec, greatest: bool) -> Result<Self, TreeError> {
        let (leaf_of, votes) = Votes::sparse(spec);
        Self::pack(spec, (leaf_of, Votes::Extreme(Extreme { votes, greatest })))
    }

    fn pack(spec: &Spec, (leaf_of, votes): (Vec<u32>, Votes<T>)) -> Result<Self, TreeError> {
        let trees = match Trees::pack(spec, &leaf_of)?.map(Shape::Narrow) {
            Some(trees) => Some(trees),
            None => Trees::pack(spec, &leaf_of)?.map(Shape::Wide),
        };
        let (found, limit) = (spec.nodes.len(), i32::MAX as usize);
        let trees = trees.ok_or(TreeError::Limit { what: "nodes", found, limit })?;
        Ok(Self { classes: spec.classes, features: spec.features, trees, votes })
    }

    /// Classes voted for.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// One more than the highest feature used: rows must be at least this wide.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let trees = match &self.trees {
            Shape::Narrow(trees) => trees.bytes(),
            Shape::Wide(trees) => trees.bytes(),
        };
        let votes = match &self.votes {
            Votes::One(votes) => size_of_val(votes.as_slice()),
            Votes::Dense4(votes) => size_of_val(votes.as_slice()),
            Votes::Dense8(votes) => size_of_val(votes.as_slice()),
            Votes::Sparse(votes) | Votes::Extreme(Extreme { votes, .. }) => votes.bytes(),
        };
        trees + votes
    }

    /// Sums each row's votes and hands them to `each(row, sums)`; a class without any vote has the sum `-0.0`.
    ///
    /// `rows` holds rows of `width` values. If `width` is under [`features`](Self::features), or 0, nothing happens.
    pub fn sum(&self, rows: &[T], width: usize, each: impl FnMut(usize, &[f64])) {
        if width >= self.features && width > 0 {
            match &self.trees {
                Shape::Narrow(trees) => self.sum_votes(trees, rows, width, each),
                Shape::Wide(trees) => self.sum_votes(trees, rows, width, each),
            }
        }
    }

    fn sum_votes<N: Packed<Value = T>>(
        &self,
        trees: &Trees<N>,
        rows: &[T],
        width: usize,
        mut each: impl FnMut(usize, &[f64]),
    ) {
        let each = &mut |row, sums: &[f64]| each(row, &sums[..self.classes]);
        match &self.votes {
            Votes::One(votes) => sum(trees, votes, self.classes, rows, width, each),
            Votes::Dense4(votes) => sum(trees, votes, 4, rows, width, each),
            Votes::Dense8(votes) => sum(trees, votes, 8, rows, width, each),
            Votes::Sparse(votes) => sum(trees, votes, self.classes, rows, width, each),
            Votes::Extreme(votes) => sum(trees, votes, self.classes, rows, width, each),
        }
    }
}

impl<T: Scalar> Votes<T> {
    /// The votes of all leaves, and for each node of the ensemble which leaf it is.
    fn pack(spec: &Spec) -> (Vec<u32>, Self) {
        let leaves = spec.nodes.iter().filter(|node| node.mode == Mode::Leaf);
        let most = leaves.clone().map(|node| node.votes.len()).max().unwrap_or(0);
        let mut leaf_of = vec![0; spec.nodes.len()];
        if most <= 1 {
            let mut packed = Vec::with_capacity(leaves.count());
            for node in leaves_of(spec) {
                leaf_of[node] = packed.len() as u32;
                packed.push(votes_of(spec, node).next().unwrap_or((0, T::nearest(-0.0))));
            }
            (leaf_of, Self::One(packed))
        } else if spec.classes <= 4 {
            let packed = dense(spec, &mut leaf_of);
            (leaf_of, Self::Dense4(packed))
        } else if spec.classes <= 8 {
            let packed = dense(spec, &mut leaf_of);
            (leaf_of, Self::Dense8(packed))
        } else {
            let (leaf_of, packed) = Self::sparse(spec);
            (leaf_of, Self::Sparse(packed))
        }
    }

    fn sparse(spec: &Spec) -> (Vec<u32>, SparseVotes<T>) {
        let mut leaf_of = vec![0; spec.nodes.len()];
        let mut packed = SparseVotes::default();
        for node in leaves_of(spec) {
            leaf_of[node] = packed.push(votes_of(spec, node));
        }
        (leaf_of, packed)
    }
}

/// The places of the leaves.
fn leaves_of(spec: &Spec) -> impl Iterator<Item = usize> {
    (0..spec.nodes.len()).giving_way().filter(|&node| spec.nodes[node].mode == Mode::Leaf)
}

fn votes_of<T: Scalar>(spec: &Spec, node: usize) -> impl Iterator<Item = (u32, T)> {
    let votes = &spec.nodes[node].votes;
    // Plus 0.0: a vote of -0.0 is a vote, and `-0.0` marks none.
    spec.votes[votes.start as usize..votes.end as usize]
        .iter()
        .map(|&(class, weight)| (class, T::nearest(weight + 0.0)))
}

/// A weight for each class. Equal leaves are one: a deep forest has many that are sure, and they stay in the cache.
fn dense<T: Scalar, const K: usize>(spec: &Spec, leaf_of: &mut [u32]) -> Vec<[T; K]> {
    let mut packed = Vec::new();
    let mut known: HashMap<[u64; K], u32> = HashMap::new();
    for node in leaves_of(spec) {
        let mut weights = [T::nearest(-0.0); K];
        for (class, weight) in votes_of::<T>(spec, node) {
            let sum = &mut weights[class as usize];
            *sum = T::nearest(sum.to_f64() + weight.to_f64());
        }
        leaf_of[node] = *known.entry(weights.map(|weight| weight.to_f64().to_bits())).or_insert_with(|| {
            packed.push(weights);
            packed.len() as u32 - 1
        });
    }
    packed
}

impl<T: Scalar> SparseVotes<T> {
    fn push(&mut self, votes: impl Iterator<Item = (u32, T)>) -> u32 {
        if self.starts.is_empty() {
            self.starts.push(0);
        }
        self.votes.extend(votes);
        self.starts.push(self.votes.len() as u32);
        self.starts.len() as u32 - 2
    }

    fn bytes(&self) -> usize {
        size_of_val(self.starts.as_slice()) + size_of_val(self.votes.as_slice())
    }
}
