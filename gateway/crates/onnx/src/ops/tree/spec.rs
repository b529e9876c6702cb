//! The content of an ensemble, checked: every tree is a tree.
//!
//! ONNX writes nodes and votes as parallel arrays that refer to each other by (tree id, node id). [`Spec::new`] resolves
//! and checks these once, so that nothing after it meets an index out of range, a cycle or a shared child.

use std::iter;
use std::ops::Range;

use thiserror::Error;

use super::arrays::{Arrays, RawNode};
use super::mode::Mode;
use modelgate_throttle::{GivingWay, give_way};

/// Bounds that keep a model file from exhausting the host.
#[derive(Clone, Copy, Debug)]
pub struct TreeLimits {
    /// Nodes, leaves included, summed over the trees.
    pub nodes: usize,
    /// Branches from a root to its furthest leaf.
    pub depth: usize,
    /// Class labels or targets.
    pub classes: usize,
}

impl Default for TreeLimits {
    /// A 100 MB file holds about 2 million nodes; trees deeper than a few dozen levels are
    /// lists in disguise, and hold up everyone.
    fn default() -> Self {
        Self { nodes: 16 << 20, depth: 1024, classes: 1 << 16 }
    }
}

/// Why an ensemble is refused.
#[derive(Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum TreeError {
    #[error("attribute '{name}' has {found} values, expected {expected}")]
    Length { name: &'static str, found: usize, expected: usize },
    #[error("attribute '{0}': {1}")]
    Attribute(&'static str, String),
    #[error("an ensemble of {found} {what} is over the limit of {limit}")]
    Limit { what: &'static str, found: usize, limit: usize },
    #[error("tree {tree} has two nodes with id {node}")]
    Duplicate { tree: i64, node: i64 },
    #[error("tree {tree}: node {node} names {child} as a child, which is not in the tree")]
    NoSuchChild { tree: i64, node: i64, child: i64 },
    #[error("tree {tree}: node {node} is the child of more than one branch")]
    SharedChild { tree: i64, node: i64 },
    #[error("tree {tree} has {roots} roots, expected 1")]
    Roots { tree: i64, roots: usize },
    #[error("tree {tree} has {nodes} nodes that its root does not reach: it has a cycle")]
    Cycle { tree: i64, nodes: usize },
    #[error("tree {tree}, node {node}: feature {feature} is not among the {width} inputs")]
    Feature { tree: i64, node: i64, feature: i64, width: usize },
    #[error("a vote is for class {class}, there are {classes}")]
    Class { class: i64, classes: usize },
    #[error("a vote names node {node} of tree {tree}, which does not exist")]
    NoSuchLeaf { tree: i64, node: i64 },
}

/// One node of a checked tree.
#[derive(Clone, Debug)]
pub struct Node {
    /// The comparison of the branch.
    pub mode: Mode,
    /// Whether a missing value takes the true branch.
    pub missing_is_true: bool,
    /// The feature compared.
    pub feature: u32,
    /// The value that it is compared with.
    pub threshold: f64,
    /// Where the true and the false branch lead, as places in [`Spec::nodes`].
    pub children: [u32; 2],
    /// A leaf's votes, as a range of [`Spec::votes`].
    pub votes: Range<u32>,
}

/// One tree.
#[derive(Clone, Copy, Debug)]
pub struct Tree {
    /// Its root's place in [`Spec::nodes`].
    pub root: u32,
    /// Nodes, leaves included.
    pub nodes: usize,
    /// Branches on its longest path.
    pub depth: usize,
}

/// A checked ensemble.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Number of classes or targets.
    pub classes: usize,
    /// Every tree, in the order of their ids.
    pub trees: Vec<Tree>,
    /// The nodes of all trees.
    pub nodes: Vec<Node>,
    /// (class, weight) of all leaves.
    pub votes: Vec<(u32, f64)>,
    /// The sets that [`Mode::Member`] refers to.
    pub sets: Vec<Vec<f64>>,
    /// One more than the highest feature used.
    pub features: usize,
}

impl Spec {
    /// Resolves and checks the arrays.
    pub fn new(arrays: &Arrays<'_>, classes: usize, limits: &TreeLimits) -> Result<Self, TreeError> {
        let (nodes, votes) = check_lists(arrays)?;
        let limit = |what, found, limit| {
            if found > limit { Err(TreeError::Limit { what, found, limit }) } else { Ok(()) }
        };
        limit("nodes", nodes, limits.nodes)?;
        limit("votes", votes, limits.nodes.saturating_mul(8))?;
        limit("classes", classes, limits.classes)?;

        let mut spec = Self {
            classes,
            trees: Vec::new(),
            nodes: Vec::with_capacity(nodes),
            votes: Vec::with_capacity(votes),
            sets: arrays.sets.clone(),
            features: 0,
        };
        let mut nodes = arrays.nodes().peekable();
        let mut votes = arrays.votes().peekable();
        let mut members: Vec<RawNode> = Vec::new();
        while let Some(&RawNode { tree, .. }) = nodes.peek() {
            give_way();
            let start = spec.nodes.len();
            members.clear();
            members.extend(iter::from_fn(|| nodes.next_if(|node| node.tree == tree)));
            if let Some(pair) = members.windows(2).find(|pair| pair[0].id == pair[1].id) {
                return Err(TreeError::Duplicate { tree, node: pair[0].id });
            }
            // Ids mostly count from 0, so that an id is a place; else search.
            let is_dense = (0..).zip(&members).all(|(index, node)| node.id == index);
            let find = |id: i64| -> Option<usize> {
                if is_dense {
                    usize::try_from(id).ok().filter(|&index| index < members.len())
                } else {
                    members.binary_search_by_key(&id, |node| node.id).ok()
                }
            };
            for node in &members {
                let first = spec.votes.len() as u32;
                while let Some(vote) = votes.next_if(|vote| (vote.tree, vote.node) == (tree, node.id)) {
                    // Votes of a branch are ignored, as ONNX Runtime does: some converters write them.
                    if node.mode == Mode::Leaf {
                        spec.votes.push((class(vote.class, classes)?, vote.weight));
                    }
                }
                if let Some(vote) = votes.next_if(|vote| (vote.tree, vote.node) < (tree, node.id)) {
                    return Err(TreeError::NoSuchLeaf { tree: vote.tree, node: vote.node });
                }
                let (mut feature, mut children) = (0, [0; 2]);
                if node.mode != Mode::Leaf {
                    feature = u32::try_from(node.feature).ok().filter(|&feature| feature < u32::MAX).ok_or(
                        TreeError::Feature { tree, node: node.id, feature: node.feature, width: u32::MAX as usize },
                    )?;
                    spec.features = spec.features.max(feature as usize + 1);
                    for (index, child) in children.iter_mut().zip(node.children) {
                        let found = find(child).ok_or(TreeError::NoSuchChild { tree, node: node.id, child })?;
                        *index = (start + found) as u32;
                    }
                }
                spec.nodes.push(Node {
                    mode: node.mode,
                    missing_is_true: node.missing_is_true,
                    feature,
                    threshold: node.threshold,
                    children,
                    votes: first..spec.votes.len() as u32,
                });
            }
            let merged = merge_chains(&mut spec.nodes[start..], start, &mut spec.sets);
            let id = |index: usize| members[index].id;
            let checked = check_tree(&spec.nodes[start..], &merged, start, tree, id, limits.depth)?;
            spec.trees.push(checked);
        }
        if let Some(vote) = votes.next() {
            return Err(TreeError::NoSuchLeaf { tree: vote.tree, node: vote.node });
        }
        Ok(spec)
    }
}

fn class(class: i64, classes: usize) -> Result<u32, TreeError> {
    u32::try_from(class).ok().filter(|&known| (known as usize) < classes).ok_or(TreeError::Class { class, classes })
}

/// Checks that the lists fit together; tells how many nodes and votes there are.
fn check_lists(arrays: &Arrays<'_>) -> Result<(usize, usize), TreeError> {
    let (node_lists, vote_lists) = (arrays.node_lists(), arrays.vote_lists());
    let ([(_, nodes), ..], [(_, votes), ..]) = (node_lists, vote_lists);
    let missing = arrays.nodes_missing_value_tracks_true.len();
    let missing = ("nodes_missing_value_tracks_true", if missing == 0 { nodes } else { missing });
    let of_nodes = node_lists.into_iter().chain([missing]).map(|(name, found)| (name, found, nodes));
    let of_votes = vote_lists.map(|(name, found)| (name, found, votes));
    if let Some((name, found, expected)) = of_nodes.chain(of_votes).find(|(_, found, expected)| found != expected) {
        return Err(TreeError::Length { name, found, expected });
    }
    for mode in arrays.nodes_modes.iter().giving_way() {
        match mode {
            Ok(Mode::Member(set)) if set as usize >= arrays.sets.len() => {
                return Err(TreeError::Attribute("membership_values", "a node has no set".into()));
            }
            Ok(_) => {}
            Err(name) => {
                let name = String::from_utf8_lossy(name);
                return Err(TreeError::Attribute("nodes_modes", format!("unknown mode '{name}'")));
            }
        }
    }
    if nodes == 0 {
        return Err(TreeError::Attribute("nodes_treeids", "an ensemble needs at least one node".into()));
    }
    Ok((nodes, votes))
}

/// Makes one node of a chain of equalities on one feature that share their true branch, which is how converters write a
/// categorical split. Tells which nodes are merged into others, and so no longer of the tree.
fn merge_chains(nodes: &mut [Node], start: usize, sets: &mut Vec<Vec<f64>>) -> Vec<bool> {
    let mut merged = vec![false; nodes.len()];
    let is_test = |node: &Node| matches!(node.mode, Mode::Equal | Mode::Member(_));
    // A branch that is shared is one that a chain may share.
    let mut parents = vec![0u32; nodes.len()];
    for child in nodes.iter().filter(|node| node.mode != Mode::Leaf).flat_map(|node| node.children) {
        parents[child as usize - start] += 1;
    }
    for index in 0..nodes.len() {
        while is_test(&nodes[index]) && !merged[index] {
            let node = &nodes[index];
            let [yes, no] = node.children;
            let next = no as usize - start;
            let other = &nodes[next];
            let alike = is_test(other)
                && next != index
                && (other.feature, other.missing_is_true, other.children[0])
                    == (node.feature, node.missing_is_true, yes);
            if !alike || parents[next] != 1 || merged[next] || parents[yes as usize - start] < 2 {
                break;
            }
            let after = other.children[1];
            let values = |node: &Node, sets: &[Vec<f64>]| match node.mode {
                Mode::Member(set) => sets.get(set as usize).cloned().unwrap_or_default(),
                _ => vec![node.threshold],
            };
            let added = values(other, sets);
            let set = if let Mode::Member(set) = node.mode {
                set
            } else {
                sets.push(vec![node.threshold]);
                sets.len() as u32 - 1
            };
            if let Some(values) = sets.get_mut(set as usize) {
                values.extend(added);
            }
            nodes[index].mode = Mode::Member(set);
            nodes[index].children[1] = after;
            merged[next] = true;
        }
    }
    merged
}

/// One root, from which each node is reached exactly once, within the depth limit.
fn check_tree(
    nodes: &[Node],
    merged: &[bool],
    start: usize,
    tree: i64,
    id: impl Fn(usize) -> i64,
    depth_limit: usize,
) -> Result<Tree, TreeError> {
    // What is merged counts as reached.
    let mut has_parent = merged.to_vec();
    let branches = nodes.iter().zip(merged).filter(|&(node, merged)| node.mode != Mode::Leaf && !merged);
    for child in branches.flat_map(|(node, _)| node.children) {
        let index = child as usize - start;
        if std::mem::replace(&mut has_parent[index], true) {
            return Err(TreeError::SharedChild { tree, node: id(index) });
        }
    }
    let mut roots = (0..nodes.len()).filter(|&index| !has_parent[index]);
    let (Some(root), None) = (roots.next(), roots.next()) else {
        let roots = has_parent.iter().filter(|&&has| !has).count();
        return Err(TreeError::Roots { tree, roots });
    };
    // Each node has at most one parent, so this traversal ends: what hangs in a cycle is never reached.
    let (mut reached, mut depth) = (merged.iter().filter(|&&merged| merged).count(), 0);
    let mut pending = vec![(root, 0)];
    while let Some((index, level)) = pending.pop() {
        reached += 1;
        depth = depth.max(level);
        if level > depth_limit {
            return Err(TreeError::Limit { what: "levels in a tree", found: level, limit: depth_limit });
        }
        let node = &nodes[index];
        if node.mode != Mode::Leaf {
            pending.extend(node.children.map(|child| (child as usize - start, level + 1)));
        }
    }
    if reached < nodes.len() {
        return Err(TreeError::Cycle { tree, nodes: nodes.len() - reached });
    }
    Ok(Tree { root: (start + root) as u32, nodes: nodes.len(), depth })
}
