//! The lists that an ensemble is made of, as the file has them: listed, or packed (see [`super::super::super::lazy_trees`]).

use std::iter;

use super::super::super::lazy_trees::take;
use super::mode::Mode;
use modelgate_throttle::GivingWay;

/// Whole numbers.
#[derive(Clone, Copy, Debug)]
pub enum Ints<'a> {
    /// One after another.
    Listed(&'a [i64]),
    /// Seven bits a byte, the lowest first; the top bit of all but a number's last byte is set.
    Packed(&'a [u8]),
}

/// Numbers.
#[derive(Clone, Debug)]
pub enum Floats<'a> {
    /// One after another.
    Listed(&'a [f32]),
    /// Four bytes each, the lowest first.
    Packed(&'a [u8]),
    /// From a tensor.
    Doubles(Vec<f64>),
}

/// The comparisons of nodes.
#[derive(Clone, Debug)]
pub enum Modes<'a> {
    /// Not by name.
    Known(Vec<Mode>),
    /// By name, one after another.
    Listed(&'a [Vec<u8>]),
    /// By name, each after its length.
    Packed(&'a [u8]),
}

/// The arrays of an ensemble as a file gives them; all `nodes_*` of one length, all `votes_*` of one length.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named as in the ONNX operator")]
pub struct Arrays<'a> {
    pub nodes_treeids: Ints<'a>,
    pub nodes_nodeids: Ints<'a>,
    pub nodes_featureids: Ints<'a>,
    pub nodes_modes: Modes<'a>,
    pub nodes_values: Floats<'a>,
    pub nodes_truenodeids: Ints<'a>,
    pub nodes_falsenodeids: Ints<'a>,
    /// Empty if absent.
    pub nodes_missing_value_tracks_true: Ints<'a>,
    pub votes_treeids: Ints<'a>,
    pub votes_nodeids: Ints<'a>,
    pub votes_classes: Ints<'a>,
    pub votes_weights: Floats<'a>,
    /// The sets that [`Mode::Member`] refers to.
    pub sets: Vec<Vec<f64>>,
}

/// A node, not checked yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawNode {
    pub(super) tree: i64,
    pub(super) id: i64,
    pub(super) mode: Mode,
    pub(super) missing_is_true: bool,
    pub(super) feature: i64,
    pub(super) threshold: f64,
    pub(super) children: [i64; 2],
}

/// The vote of a leaf for a class.
#[derive(Clone, Copy, Debug)]
pub(super) struct RawVote {
    pub(super) tree: i64,
    pub(super) node: i64,
    pub(super) class: i64,
    pub(super) weight: f64,
}

impl Default for Ints<'_> {
    fn default() -> Self {
        Self::Listed(&[])
    }
}

impl Default for Floats<'_> {
    fn default() -> Self {
        Self::Listed(&[])
    }
}

impl Default for Modes<'_> {
    fn default() -> Self {
        Self::Listed(&[])
    }
}

impl<'a> Ints<'a> {
    /// The count.
    pub fn len(self) -> usize {
        match self {
            Self::Listed(listed) => listed.len(),
            Self::Packed(packed) => packed.iter().filter(|&&byte| byte < 0x80).count(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Each.
    pub fn iter(self) -> impl Iterator<Item = i64> + Clone + use<'a> {
        let (mut listed, mut packed) = match self {
            Self::Listed(listed) => (listed.iter(), &[][..]),
            Self::Packed(packed) => ([].iter(), packed),
        };
        iter::from_fn(move || match packed {
            [] => listed.next().copied(),
            [one, rest @ ..] if *one < 0x80 => {
                packed = rest;
                Some(i64::from(*one))
            }
            _ => take(&mut packed).map(u64::cast_signed),
        })
    }
}

impl Floats<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Listed(listed) => listed.len(),
            Self::Packed(packed) => packed.len() / 4,
            Self::Doubles(doubles) => doubles.len(),
        }
    }

    /// Each.
    pub(super) fn iter(&self) -> impl Iterator<Item = f64> + Clone {
        let (listed, packed, doubles) = match self {
            Self::Listed(listed) => (*listed, &[][..], &[][..]),
            Self::Packed(packed) => (&[][..], packed.as_chunks().0, &[][..]),
            Self::Doubles(doubles) => (&[][..], &[][..], doubles.as_slice()),
        };
        let singles = listed.iter().copied().chain(packed.iter().copied().map(f32::from_le_bytes));
        singles.map(f64::from).chain(doubles.iter().copied())
    }
}

impl Modes<'_> {
    /// Each, or the name that is none.
    pub(super) fn iter(&self) -> impl Iterator<Item = Result<Mode, &[u8]>> + Clone {
        let (known, listed, mut packed) = match self {
            Self::Known(known) => (known.as_slice(), &[][..], &[][..]),
            Self::Listed(listed) => (&[][..], *listed, &[][..]),
            Self::Packed(packed) => (&[][..], &[][..], *packed),
        };
        let packed = iter::from_fn(move || {
            let length = usize::try_from(take(&mut packed)?).ok()?;
            let (name, rest) = packed.split_at_checked(length)?;
            packed = rest;
            Some(name)
        });
        let names = listed.iter().map(Vec::as_slice).chain(packed);
        known.iter().copied().map(Ok).chain(names.map(|name| Mode::from_name(name).ok_or(name)))
    }
}

impl Arrays<'_> {
    /// Each list of nodes by name, and how long it is; without the one that may be empty.
    pub(super) fn node_lists(&self) -> [(&'static str, usize); 7] {
        [
            ("nodes_treeids", self.nodes_treeids.len()),
            ("nodes_nodeids", self.nodes_nodeids.len()),
            ("nodes_featureids", self.nodes_featureids.len()),
            ("nodes_modes", self.nodes_modes.iter().giving_way().count()),
            ("nodes_values", self.nodes_values.len()),
            ("nodes_truenodeids", self.nodes_truenodeids.len()),
            ("nodes_falsenodeids", self.nodes_falsenodeids.len()),
        ]
    }

    /// The same of votes, by the names that a classifier gives them.
    pub(super) fn vote_lists(&self) -> [(&'static str, usize); 4] {
        [
            ("class_treeids", self.votes_treeids.len()),
            ("class_nodeids", self.votes_nodeids.len()),
            ("class_ids", self.votes_classes.len()),
            ("class_weights", self.votes_weights.len()),
        ]
    }

    /// The nodes in the order of (tree id, node id), equal ones as they came.
    pub(super) fn nodes(&self) -> Box<dyn Iterator<Item = RawNode> + '_> {
        let [mut trees, mut ids] = [self.nodes_treeids, self.nodes_nodeids].map(Ints::iter);
        let is_sorted = trees.clone().zip(ids.clone()).giving_way().is_sorted();
        let mut features = self.nodes_featureids.iter();
        let [mut yes, mut no] = [self.nodes_truenodeids, self.nodes_falsenodeids].map(Ints::iter);
        let mut missing = self.nodes_missing_value_tracks_true.iter();
        let mut modes = self.nodes_modes.iter();
        let mut values = self.nodes_values.iter();
        let nodes = iter::from_fn(move || {
            Some(RawNode {
                tree: trees.next()?,
                id: ids.next()?,
                mode: modes.next()?.ok()?,
                missing_is_true: missing.next().is_some_and(|flag| flag != 0),
                feature: features.next()?,
                threshold: values.next()?,
                children: [yes.next()?, no.next()?],
            })
        });
        in_order(nodes, is_sorted, |node| (node.tree, node.id))
    }

    /// The votes in the same order.
    pub(super) fn votes(&self) -> Box<dyn Iterator<Item = RawVote> + '_> {
        let [mut trees, mut nodes] = [self.votes_treeids, self.votes_nodeids].map(Ints::iter);
        let is_sorted = trees.clone().zip(nodes.clone()).giving_way().is_sorted();
        let mut classes = self.votes_classes.iter();
        let mut weights = self.votes_weights.iter();
        let votes = iter::from_fn(move || {
            let [tree, node, class] = [trees.next()?, nodes.next()?, classes.next()?];
            Some(RawVote { tree, node, class, weight: weights.next()? })
        });
        in_order(votes, is_sorted, |vote| (vote.tree, vote.node))
    }
}

/// Files are nearly always in order already: then nothing is copied.
fn in_order<'a, T: 'a>(
    items: impl Iterator<Item = T> + 'a,
    is_sorted: bool,
    key: impl Fn(&T) -> (i64, i64),
) -> Box<dyn Iterator<Item = T> + 'a> {
    if is_sorted {
        return Box::new(items);
    }
    let mut all: Vec<T> = items.collect();
    all.sort_by_key(key);
    Box::new(all.into_iter())
}
