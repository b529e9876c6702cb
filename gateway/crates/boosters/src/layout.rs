//! Checked trees, packed for a fast traversal.
//!
//! As the trees of ONNX graphs are (`modelgate-onnx`): both children lie side by side, so that a step is one addition,
//! `at += step + !(value <= threshold)`. A leaf's threshold is a NaN whose payload numbers the leaf, and its step is -1,
//! so that a traversal that has ended stays where it is. Unlike there, trees keep their order, for sums do.

use crate::error::{Read, Reader};
use crate::trees::{Node as Plain, Sets, Test, Tree};

/// The type of feature values and thresholds.
pub(crate) trait Value: Copy + PartialOrd + Default + Send + Sync + std::fmt::Debug + 'static {
    /// Leaves that a NaN's payload can tell apart.
    const LEAVES: usize;
    /// The largest value that is at most `limit`; NaN if there is none.
    fn at_most(limit: f64) -> Self;
    /// A NaN that numbers a leaf.
    fn leaf(number: u32) -> Self;
    /// The leaf that a NaN numbers.
    fn leaf_number(self) -> u32;
    /// As a double.
    fn double(self) -> f64;
}

macro_rules! value {
    ($float:ty, $bits:ty, $leaves:expr) => {
        impl Value for $float {
            const LEAVES: usize = $leaves;

            #[allow(clippy::cast_lossless, reason = "lossless for f64 only")]
            fn at_most(limit: f64) -> Self {
                let near = limit as Self;
                if near as f64 <= limit || limit.is_nan() {
                    near
                } else if near == Self::NEG_INFINITY {
                    Self::NAN
                } else {
                    near.next_down()
                }
            }

            fn leaf(number: u32) -> Self {
                Self::from_bits(Self::NAN.to_bits() | <$bits>::from(number))
            }

            #[inline]
            fn leaf_number(self) -> u32 {
                self.to_bits() as u32 & ($leaves - 1) as u32
            }

            #[inline]
            #[allow(clippy::cast_lossless, reason = "lossless for f64 only")]
            fn double(self) -> f64 {
                self as f64
            }
        }
    };
}
value!(f32, u32, 1usize << 22);
value!(f64, u64, 1usize << 32);

/// The largest value below a bound; NaN if there is none.
pub(crate) fn below(bound: f32) -> f32 {
    if bound == f32::NEG_INFINITY { f32::NAN } else { bound.next_down() }
}

/// A packed node.
pub(crate) trait Packed: Copy + Send + Sync + std::fmt::Debug + 'static {
    /// The type of features and thresholds.
    type Value: Value;
    /// `None` if a number does not fit.
    fn new(threshold: Self::Value, feature: u32, step: isize) -> Option<Self>;
    /// The largest value that goes left.
    fn threshold(self) -> Self::Value;
    /// The feature compared.
    fn feature(self) -> usize;
    /// From here to the left child; -1 in a leaf.
    fn step(self) -> isize;
}

macro_rules! packed {
    ($(#[$doc:meta])* $name:ident, $feature:ty, $step:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name<T> {
            threshold: T,
            feature: $feature,
            step: $step,
        }

        impl<T: Value> Packed for $name<T> {
            type Value = T;

            fn new(threshold: T, feature: u32, step: isize) -> Option<Self> {
                Some(Self { threshold, feature: feature.try_into().ok()?, step: step.try_into().ok()? })
            }

            #[inline]
            fn threshold(self) -> T {
                self.threshold
            }

            #[inline]
            fn feature(self) -> usize {
                self.feature as usize
            }

            #[inline]
            fn step(self) -> isize {
                self.step as isize
            }
        }
    };
}
packed!(
    /// 8 bytes for `f32`: up to 65,536 features, children within 32,767 nodes.
    Narrow, u16, i16
);
packed!(
    /// For everything else.
    Wide, u32, i32
);

/// The difference of a node from "a value of at most its threshold goes left", in bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule(u32);

impl Rule {
    const MISSING_LEFT: u32 = 1;
    const ZERO_RULED: u32 = 2;
    const ZERO_LEFT: u32 = 4;
    const SET: u32 = 3;

    fn new(missing: bool, zero: Option<bool>, set: Option<u32>) -> Self {
        let zero = zero.map_or(0, |left| Self::ZERO_RULED | if left { Self::ZERO_LEFT } else { 0 });
        Self(u32::from(missing) | zero | set.map_or(0, |set| (set + 1) << Self::SET))
    }

    #[inline]
    pub(crate) fn missing_left(self) -> bool {
        self.0 & Self::MISSING_LEFT != 0
    }

    #[inline]
    pub(crate) fn zero(self) -> Option<bool> {
        (self.0 & Self::ZERO_RULED != 0).then_some(self.0 & Self::ZERO_LEFT != 0)
    }

    #[inline]
    pub(crate) fn set(self) -> Option<u32> {
        (self.0 >> Self::SET).checked_sub(1)
    }
}

/// One tree among the packed nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Root {
    /// Where its traversal starts.
    pub(crate) at: u32,
    /// Steps to its furthest leaf.
    pub(crate) depth: u32,
    /// The score that it adds to.
    pub(crate) score: u32,
}

/// Packed trees, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Trees<N: Packed> {
    /// All nodes; spare ones in front put the first on a cache line.
    pub(crate) nodes: Vec<N>,
    pub(crate) roots: Vec<Root>,
    /// For each node.
    pub(crate) rules: Vec<Rule>,
    /// Whether some node asks for a category.
    pub(crate) has_sets: bool,
    /// Whether some node has a rule for zeros.
    pub(crate) has_zero_rules: bool,
}

/// Nodes in a cache line.
const LINE: usize = 8;

impl<N: Packed> Trees<N> {
    /// Packs trees that are checked, of these depths. `Ok(None)` if a number does not fit in `N`.
    pub(crate) fn pack(reader: Reader, trees: &[Tree], depths: &[u32], leaves: usize) -> Read<Option<Self>> {
        if leaves > N::Value::LEAVES {
            return Err(reader.unsupported(format!("{leaves} leaves, more than {}", N::Value::LEAVES)));
        }
        let Some(spare) = N::new(N::Value::leaf(0), 0, -1) else { return Ok(None) };
        let count: usize = trees.iter().map(|tree| tree.nodes.len()).sum();
        // Room for the cache line's start, the place before each root, and gaps at the ends of blocks.
        let mut nodes: Vec<N> = Vec::with_capacity(count + count / 2 + 2 * trees.len() + 2 * LINE);
        let first = match nodes.as_ptr().align_offset(64) {
            offset if offset < LINE => offset,
            _ => 0,
        };
        nodes.resize(first, spare);
        let rules = vec![Rule::default(); first];
        let mut packer = Packer { nodes, rules, spare, first };
        let mut roots = Vec::with_capacity(trees.len());
        for (tree, &depth) in trees.iter().zip(depths) {
            let Some(at) = packer.tree(tree) else { return Ok(None) };
            roots.push(Root { at, depth, score: tree.score });
        }
        let Packer { nodes, rules, .. } = packer;
        let has_sets = rules.iter().any(|rule| rule.set().is_some());
        let has_zero_rules = rules.iter().any(|rule| rule.zero().is_some());
        Ok(Some(Self { nodes, roots, rules, has_sets, has_zero_rules }))
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.nodes.as_slice()) + size_of_val(self.roots.as_slice()) + size_of_val(self.rules.as_slice())
    }
}

struct Packer<N: Packed> {
    nodes: Vec<N>,
    rules: Vec<Rule>,
    spare: N,
    first: usize,
}

impl<N: Packed> Packer<N> {
    /// Puts one tree behind the others; gives its root's place, or `None` if a number does not fit.
    fn tree(&mut self, tree: &Tree) -> Option<u32> {
        // A root sits on an odd place and pairs of children start on even ones, so that no pair spans two lines.
        let at = self.room(2) + 1;
        // Pairs of children still to be placed: (place of the parent, its node).
        let mut pending = vec![(at, 0)];
        while let Some((index, node)) = pending.pop() {
            let Some([left, right]) = self.put(index, tree.nodes[node as usize])? else { continue };
            // A block: this pair and the pairs below it.
            let is_leaf = |child: u32| matches!(tree.nodes[child as usize], Plain::Leaf(_));
            let pairs = 1 + [left, right].into_iter().filter(|&child| !is_leaf(child)).count();
            let pair = self.room(2 * pairs);
            self.link(index, pair)?;
            let mut below = pair + 2;
            for (child, child_index) in [(left, pair), (right, pair + 1)] {
                let Some([left, right]) = self.put(child_index, tree.nodes[child as usize])? else { continue };
                self.link(child_index, below)?;
                pending.push((below + 1, right));
                pending.push((below, left));
                below += 2;
            }
        }
        u32::try_from(at).ok()
    }

    /// Spare nodes at the end: within one cache line if they fit in one.
    fn room(&mut self, count: usize) -> usize {
        let used = (self.nodes.len() - self.first) % LINE;
        if used + count > LINE {
            self.nodes.resize(self.nodes.len() + LINE - used, self.spare);
        }
        let start = self.nodes.len();
        self.nodes.resize(start + count, self.spare);
        self.rules.resize(start + count, Rule::default());
        start
    }

    /// Writes a node, not yet linked to its children; gives these, or `None` for a leaf.
    #[expect(clippy::option_option, reason = "the outer one is a number that does not fit")]
    fn put(&mut self, index: usize, node: Plain) -> Option<Option<[u32; 2]>> {
        match node {
            Plain::Leaf(number) => {
                self.nodes[index] = N::new(N::Value::leaf(number), 0, -1)?;
                Some(None)
            }
            Plain::Branch { feature, test, children, missing, zero } => {
                let (threshold, set) = match test {
                    Test::AtMost(threshold) => (N::Value::at_most(threshold), None),
                    Test::Member(set) => (N::Value::default(), Some(set)),
                };
                self.nodes[index] = N::new(threshold, feature, 0)?;
                self.rules[index] = Rule::new(missing, zero, set);
                Some(Some(children))
            }
        }
    }

    fn link(&mut self, index: usize, pair: usize) -> Option<()> {
        let node = self.nodes[index];
        self.nodes[index] = N::new(node.threshold(), node.feature() as u32, pair.checked_signed_diff(index)?)?;
        Some(())
    }
}

/// The values that a library treats in ways of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Habits {
    /// A number below 0 is no category, nor is one of 2²⁴ and more.
    #[default]
    XgBoost,
    /// Numbers of up to 1e-35 are zeros; a category is a number without what follows its point.
    LightGbm,
}

/// The largest number that LightGBM takes for zero: the single nearest to 1e-35.
pub(crate) const ZERO: f64 = 1e-35_f32 as f64;

impl Habits {
    /// The category that a number stands for.
    #[inline]
    pub(crate) fn category(self, value: f64) -> Option<u32> {
        let stands = match self {
            Self::XgBoost => (0.0..16_777_216.0).contains(&value),
            Self::LightGbm => value > -1.0 && value < 2_147_483_648.0,
        };
        stands.then_some(value as u32)
    }

    /// Whether a value is in a set.
    pub(crate) fn is_member<T: Value>(self, sets: &Sets, set: u32, value: T) -> bool {
        self.category(value.double()).is_some_and(|category| sets.has(set, category))
    }
}
