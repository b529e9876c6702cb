//! The attributes of `TreeEnsemble`, which came with version 5 of `ai.onnx.ml`: branches and leaves in lists of their
//! own, children by their places, and sets of values to be among.

use tract_onnx::model::ParsingContext;
use tract_onnx::tract_hir::internal::{TractErrorContext, TractResult, bail, ensure};

use super::super::attributes::Attributes;
use super::super::post::PostTransform;
use super::arrays::{Arrays, Floats, Ints, Modes};
use super::attributes::{ints, targets};
use super::mode::Mode;
use super::regressor::{Aggregate, Target};
use super::spec::{Spec, TreeError, TreeLimits};

/// Reads and checks a node.
pub(super) fn ensemble(ctx: &ParsingContext<'_>, node: Attributes<'_>) -> TractResult<(Spec, Target)> {
    let branches = Branches::read(ctx, node)?;
    let limits = TreeLimits::default();
    let mut trees = Trees::default();
    let mut used = vec![false; branches.features.len()];
    for (tree, root) in (0..).zip(ints(node, "tree_roots").iter()) {
        trees.grow(tree, root, &branches, &mut used)?;
    }
    let arrays = Arrays {
        nodes_treeids: Ints::Listed(&trees.of_tree),
        nodes_nodeids: Ints::Listed(&trees.node_ids),
        nodes_featureids: Ints::Listed(&trees.features),
        nodes_modes: Modes::Known(trees.modes),
        nodes_values: Floats::Doubles(trees.values),
        nodes_truenodeids: Ints::Listed(&trees.yes),
        nodes_falsenodeids: Ints::Listed(&trees.no),
        nodes_missing_value_tracks_true: Ints::Listed(&trees.missing),
        votes_treeids: Ints::Listed(&trees.vote_trees),
        votes_nodeids: Ints::Listed(&trees.vote_nodes),
        votes_classes: Ints::Listed(&trees.vote_targets),
        votes_weights: Floats::Doubles(trees.vote_weights),
        sets: branches.sets,
    };
    let spec = Spec::new(&arrays, targets(node)?, &limits)?;
    let aggregate = match node.int("aggregate_function").unwrap_or(1) {
        0 => Aggregate::Average,
        1 => Aggregate::Sum,
        2 => Aggregate::Min,
        3 => Aggregate::Max,
        other => bail!("attribute 'aggregate_function': unknown {other}"),
    };
    let post = match node.int("post_transform").unwrap_or(0) {
        0 => PostTransform::None,
        1 => PostTransform::Softmax,
        2 => PostTransform::Logistic,
        3 => PostTransform::SoftmaxZero,
        4 => PostTransform::Probit,
        other => bail!("attribute 'post_transform': unknown {other}"),
    };
    Ok((spec, Target { aggregate, base: Vec::new(), post }))
}

/// Branches and leaves as the file lists them, of checked lengths.
struct Branches {
    features: Vec<i64>,
    modes: Vec<Mode>,
    splits: Vec<f64>,
    missing: Vec<i64>,
    /// (child, whether it is a leaf), for true and for false.
    children: [(Vec<i64>, Vec<i64>); 2],
    leaf_targets: Vec<i64>,
    leaf_weights: Vec<f64>,
    sets: Vec<Vec<f64>>,
}

impl Branches {
    fn read(ctx: &ParsingContext<'_>, node: Attributes<'_>) -> TractResult<Self> {
        let tensor = |name: &str| node.doubles(ctx, name)?.with_context(|| format!("attribute '{name}' is not given"));
        let list = |name: &str| ints(node, name).iter().collect::<Vec<i64>>();
        let features = list("nodes_featureids");
        let sets = node.doubles(ctx, "membership_values")?.unwrap_or_default();
        // A NaN ends a set.
        let mut sets: Vec<Vec<f64>> = sets.split(|value| value.is_nan()).map(<[f64]>::to_vec).collect();
        let mut members = 0;
        let modes = tensor("nodes_modes")?.into_iter().map(|mode| {
            Ok(match mode as i64 {
                0 => Mode::LessEqual,
                1 => Mode::Less,
                2 => Mode::GreaterEqual,
                3 => Mode::Greater,
                4 => Mode::Equal,
                5 => Mode::NotEqual,
                6 => {
                    members += 1;
                    Mode::Member(members - 1)
                }
                other => return Err(TreeError::Attribute("nodes_modes", format!("unknown mode {other}"))),
            })
        });
        let modes: Vec<Mode> = modes.collect::<Result<_, _>>()?;
        sets.truncate(members as usize);
        let children = [("nodes_truenodeids", "nodes_trueleafs"), ("nodes_falsenodeids", "nodes_falseleafs")];
        let read = Self {
            features,
            modes,
            splits: tensor("nodes_splits")?,
            missing: list("nodes_missing_value_tracks_true"),
            children: children.map(|(ids, leaves)| (list(ids), list(leaves))),
            leaf_targets: list("leaf_targetids"),
            leaf_weights: tensor("leaf_weights")?,
            sets,
        };
        let lengths = read.children.iter().flat_map(|(ids, leaves)| [ids.len(), leaves.len()]);
        let lengths = lengths.chain([read.modes.len(), read.splits.len()]);
        let missing = read.missing.is_empty() || read.missing.len() == read.features.len();
        ensure!(
            missing && lengths.into_iter().all(|len| len == read.features.len()),
            "the lists of nodes differ in length"
        );
        ensure!(read.leaf_targets.len() == read.leaf_weights.len(), "the lists of leaves differ in length");
        Ok(read)
    }
}

/// Trees in the form of the older operators.
#[derive(Default)]
struct Trees {
    of_tree: Vec<i64>,
    node_ids: Vec<i64>,
    features: Vec<i64>,
    modes: Vec<Mode>,
    values: Vec<f64>,
    yes: Vec<i64>,
    no: Vec<i64>,
    missing: Vec<i64>,
    vote_trees: Vec<i64>,
    vote_nodes: Vec<i64>,
    vote_targets: Vec<i64>,
    vote_weights: Vec<f64>,
}

impl Trees {
    /// Adds the tree from this branch on. No branch may be in two places; leaves may.
    fn grow(&mut self, tree: i64, root: i64, branches: &Branches, used: &mut [bool]) -> TractResult<()> {
        let first = self.node_ids.len();
        // (place of the parent, which of its children, the child, whether it is a leaf)
        let mut pending = vec![(None, 0, root, false)];
        while let Some((parent, side, child, leaf)) = pending.pop() {
            let id = i64::try_from(self.node_ids.len() - first)?;
            if let Some(parent) = parent {
                let children: &mut Vec<i64> = if side == 0 { &mut self.yes } else { &mut self.no };
                children[parent] = id;
            }
            let index = usize::try_from(child).ok();
            if leaf {
                let index = index.filter(|&index| index < branches.leaf_targets.len());
                let index = index.ok_or(TreeError::NoSuchLeaf { tree, node: child })?;
                self.node(tree, id, Mode::Leaf, (0, 0.0, 0));
                self.vote_trees.push(tree);
                self.vote_nodes.push(id);
                self.vote_targets.push(branches.leaf_targets[index]);
                self.vote_weights.push(branches.leaf_weights[index]);
                continue;
            }
            let index = index.filter(|&index| index < used.len());
            let index = index.ok_or(TreeError::NoSuchChild { tree, node: id, child })?;
            if std::mem::replace(&mut used[index], true) {
                return Err(TreeError::SharedChild { tree, node: child }.into());
            }
            let parent = self.node_ids.len();
            let missing = branches.missing.get(index).copied().unwrap_or(0);
            self.node(tree, id, branches.modes[index], (branches.features[index], branches.splits[index], missing));
            for (side, (children, leaves)) in branches.children.iter().enumerate().rev() {
                pending.push((Some(parent), side, children[index], leaves[index] != 0));
            }
        }
        Ok(())
    }

    fn node(&mut self, tree: i64, id: i64, mode: Mode, (feature, value, missing): (i64, f64, i64)) {
        self.of_tree.push(tree);
        self.node_ids.push(id);
        self.features.push(feature);
        self.modes.push(mode);
        self.values.push(value);
        self.yes.push(0);
        self.no.push(0);
        self.missing.push(missing);
    }
}
