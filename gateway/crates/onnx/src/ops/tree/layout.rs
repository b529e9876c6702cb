//! Checked trees, packed for a fast traversal.
//!
//! Every comparison is turned into "`x <= threshold` goes left" when the model loads, and a traversal is one addition:
//! `at += step + !(x <= threshold)`, with both children side by side. A leaf's threshold is a NaN, so that the comparison
//! always fails, and its step is -1, so that a traversal stays where it is: traversals need no test for the end. The NaN's payload
//! says which leaf it is. Nodes lie in blocks of two levels, so that a cache line serves two steps of a traversal.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::mode::Mode;
use super::spec::{Node as SpecNode, Spec, TreeError};
use modelgate_throttle::give_way;

/// A type of feature values.
pub trait Scalar: Copy + PartialOrd + Send + Sync + std::fmt::Debug + Default + 'static {
    /// Leaves that a NaN's payload can tell apart.
    const LEAVES: usize;
    /// The largest value that is at most `limit` (or below it, if `strict`); NaN if there is none.
    fn below(limit: f64, strict: bool) -> Self;
    /// The value itself if it is representable, else NaN.
    fn exact(value: f64) -> Self;
    /// The nearest value.
    fn nearest(value: f64) -> Self;
    /// A NaN that says which leaf it is.
    fn leaf(id: u32) -> Self;
    /// The leaf that a NaN says it is.
    fn leaf_id(self) -> u32;
    /// Whether it is a NaN.
    fn is_nan(self) -> bool;
    /// As a double.
    fn to_f64(self) -> f64;
}

macro_rules! scalar {
    ($float:ty, $bits:ty, $leaves:expr) => {
        impl Scalar for $float {
            const LEAVES: usize = $leaves;

            #[allow(clippy::cast_lossless, reason = "lossless for f64 only")]
            fn below(limit: f64, strict: bool) -> Self {
                let near = limit as Self;
                let fits = if strict { (near as f64) < limit } else { near as f64 <= limit };
                if fits || limit.is_nan() {
                    return near;
                }
                // Nothing is below minus infinity.
                if near == Self::NEG_INFINITY { Self::NAN } else { near.next_down() }
            }

            #[allow(clippy::cast_lossless, clippy::float_cmp, reason = "exactness is the question")]
            fn exact(value: f64) -> Self {
                let near = value as Self;
                if near as f64 == value { near } else { Self::NAN }
            }

            fn nearest(value: f64) -> Self {
                value as Self
            }

            fn leaf(id: u32) -> Self {
                Self::from_bits(Self::NAN.to_bits() | <$bits>::from(id))
            }

            #[inline]
            fn leaf_id(self) -> u32 {
                self.to_bits() as u32 & ($leaves - 1) as u32
            }

            #[inline]
            fn is_nan(self) -> bool {
                self.is_nan()
            }

            #[inline]
            #[allow(clippy::cast_lossless, reason = "lossless for f64 only")]
            fn to_f64(self) -> f64 {
                self as f64
            }
        }
    };
}
scalar!(f32, u32, 1usize << 22);
scalar!(f64, u64, 1usize << 32);

/// A packed node.
pub(super) trait Packed: Copy + Send + Sync + std::fmt::Debug + 'static {
    /// The type of features and thresholds.
    type Value: Scalar;
    /// `None` if a number does not fit.
    fn new(threshold: Self::Value, feature: u32, step: isize) -> Option<Self>;
    /// The value that the feature is compared with.
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
        pub(super) struct $name<T> {
            threshold: T,
            feature: $feature,
            step: $step,
        }

        impl<T: Scalar> Packed for $name<T> {
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

/// The difference of a node from "`x <= threshold` goes left".
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rule {
    /// A missing value goes left.
    pub(super) missing_left: bool,
    pub(super) test: Test,
}

/// The values that go left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Test {
    #[default]
    AtMost,
    Equal,
    /// The values in the node's set.
    Member,
}

/// One tree among the packed nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    /// Where its traversal starts.
    pub(super) at: u32,
    /// Steps to its furthest leaf.
    pub(super) depth: u32,
}

/// Packed trees.
#[derive(Clone, Debug)]
pub(super) struct Trees<N: Packed> {
    /// All nodes; `first` spare ones in front put the first on a cache line.
    pub(super) nodes: Vec<N>,
    /// The trees, the shallow ones first, so that trees traversed together are alike.
    pub(super) roots: Vec<Root>,
    /// For each node; empty if no node has one.
    pub(super) rules: Vec<Rule>,
    /// Whether some node tests for something else than a bound.
    pub(super) has_equal: bool,
    /// By node, sorted.
    sets: HashMap<u32, Vec<N::Value>>,
}

/// Nodes of 8 bytes in a cache line. Larger nodes still profit from the order.
const LINE: usize = 8;

impl<N: Packed> Trees<N> {
    /// Packs the trees; `leaf_of` says which leaf a leaf's node stands for. `Ok(None)` if a number does not fit in `N`.
    pub(super) fn pack(spec: &Spec, leaf_of: &[u32]) -> Result<Option<Self>, TreeError> {
        if let Some(&leaf) = leaf_of.iter().max()
            && leaf as usize >= N::Value::LEAVES
        {
            let found = leaf as usize + 1;
            return Err(TreeError::Limit { what: "different leaves", found, limit: N::Value::LEAVES });
        }
        let spare = N::new(N::Value::leaf(0), 0, -1);
        let Some(spare) = spare else { return Ok(None) };
        // Room for the cache line's start, the place before each root, and gaps at the ends of blocks.
        let mut nodes: Vec<N> =
            Vec::with_capacity(spec.nodes.len() + spec.nodes.len() / 2 + 2 * spec.trees.len() + 2 * LINE);
        let first = match nodes.as_ptr().align_offset(64) {
            offset if offset < LINE => offset,
            _ => 0,
        };
        nodes.resize(first, spare);
        let mut packer = Packer { spec, leaf_of, nodes, rules: Vec::new(), sets: HashMap::new(), spare, first };
        let mut order: Vec<_> = spec.trees.iter().collect();
        order.sort_by_key(|tree| tree.depth);
        let mut roots = Vec::with_capacity(order.len());
        for tree in order {
            give_way();
            let Some(at) = packer.tree(tree.root) else { return Ok(None) };
            roots.push(Root { at, depth: tree.depth as u32 });
        }
        let Packer { nodes, mut rules, sets, .. } = packer;
        let has_equal = rules.iter().any(|rule| rule.test != Test::AtMost);
        if !has_equal && rules.iter().all(|rule| !rule.missing_left) {
            rules = Vec::new();
        }
        Ok(Some(Self { nodes, roots, rules, has_equal, sets }))
    }

    /// Bytes held. Room that was never written to is none.
    pub(super) fn bytes(&self) -> usize {
        let sets: usize = self.sets.values().map(|set| size_of_val(set.as_slice())).sum();
        let trees = size_of_val(self.nodes.as_slice()) + size_of_val(self.roots.as_slice());
        trees + size_of_val(self.rules.as_slice()) + sets
    }

    /// Whether a value is in a node's set.
    pub(super) fn is_member(&self, at: usize, value: N::Value) -> bool {
        let set = u32::try_from(at).ok().and_then(|at| self.sets.get(&at));
        set.is_some_and(|set| set.get(set.partition_point(|&member| member < value)) == Some(&value))
    }
}

struct Packer<'a, N: Packed> {
    spec: &'a Spec,
    leaf_of: &'a [u32],
    nodes: Vec<N>,
    rules: Vec<Rule>,
    sets: HashMap<u32, Vec<N::Value>>,
    spare: N,
    first: usize,
}

impl<N: Packed> Packer<'_, N> {
    /// Puts one tree behind the others; gives its root's place, or `None` if a number does not fit.
    fn tree(&mut self, root: u32) -> Option<u32> {
        // A root sits on an odd place and pairs of children start on even ones, so that no pair spans two lines.
        let at = self.room(2) + 1;
        // Pairs of children still to be placed, by their parent: (place of the parent, its node).
        let mut pending = vec![(at, root)];
        while let Some((index, node)) = pending.pop() {
            let Some((left, right)) = self.put(index, node)? else { continue };
            // A block: this pair and the pairs below it.
            let pairs = 1 + [left, right].into_iter().filter(|&child| !self.is_leaf(child)).count();
            let pair = self.room(2 * pairs);
            self.link(index, pair)?;
            let mut below = pair + 2;
            for (child, child_index) in [(left, pair), (right, pair + 1)] {
                let Some((left, right)) = self.put(child_index, child)? else { continue };
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

    fn is_leaf(&self, node: u32) -> bool {
        self.spec.nodes[node as usize].mode == Mode::Leaf
    }

    /// Writes a node, not yet linked to its children; gives these, the left one first, or `None` for a leaf.
    #[expect(clippy::option_option, reason = "the outer one is a number that does not fit")]
    fn put(&mut self, index: usize, node: u32) -> Option<Option<(u32, u32)>> {
        let spec = &self.spec.nodes[node as usize];
        if spec.mode == Mode::Leaf {
            self.nodes[index] = N::new(N::Value::leaf(self.leaf_of[node as usize]), 0, -1)?;
            return Some(None);
        }
        let (threshold, swap, rule) = normal_form::<N::Value>(spec);
        self.nodes[index] = N::new(threshold, spec.feature, 0)?;
        self.rules[index] = rule;
        if let Mode::Member(set) = spec.mode {
            let members = self.spec.sets.get(set as usize).into_iter().flatten();
            // What the type cannot represent, no value equals.
            let members = members.map(|&member| N::Value::exact(member)).filter(|member| !member.is_nan());
            let mut members: Vec<_> = members.collect();
            members.sort_by(|one, other| one.partial_cmp(other).unwrap_or(Ordering::Equal));
            self.sets.insert(u32::try_from(index).ok()?, members);
        }
        let [yes, no] = spec.children;
        Some(Some(if swap { (no, yes) } else { (yes, no) }))
    }

    fn link(&mut self, index: usize, pair: usize) -> Option<()> {
        let node = self.nodes[index];
        self.nodes[index] = N::new(node.threshold(), node.feature() as u32, pair.checked_signed_diff(index)?)?;
        Some(())
    }
}

/// A comparison as "`x <= threshold` goes left": the threshold, whether the true branch is the right one, and what a plain
/// comparison would get wrong.
fn normal_form<T: Scalar>(node: &SpecNode) -> (T, bool, Rule) {
    let missing = node.missing_is_true;
    let at_most = |strict| T::below(node.threshold, strict);
    let rule = |missing_left, test| Rule { missing_left, test };
    match node.mode {
        Mode::LessEqual | Mode::Leaf => (at_most(false), false, rule(missing, Test::AtMost)),
        Mode::Less => (at_most(true), false, rule(missing, Test::AtMost)),
        // Comparisons with a NaN threshold are false: it goes left, which is the false branch.
        Mode::GreaterEqual | Mode::Greater if node.threshold.is_nan() => {
            (T::below(f64::NAN, false), false, rule(missing, Test::AtMost))
        }
        Mode::GreaterEqual => (at_most(true), true, rule(!missing, Test::AtMost)),
        Mode::Greater => (at_most(false), true, rule(!missing, Test::AtMost)),
        Mode::Equal => (T::exact(node.threshold), false, rule(missing, Test::Equal)),
        // A NaN is not equal to anything, so it takes the true branch, which is the right one.
        Mode::NotEqual => (T::exact(node.threshold), true, rule(false, Test::Equal)),
        // The threshold is not looked at.
        Mode::Member(_) => (T::nearest(0.0), false, rule(missing, Test::Member)),
    }
}
