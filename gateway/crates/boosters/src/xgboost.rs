//! Models of XGBoost: `.json` and `.ubj`, as `save_model` writes them since 1.0.

use crate::document::{Document, from_json, from_ubjson};
use crate::encoding::{self, Encoding};
use crate::error::{Read, Reader};
use crate::forest::{Forest, Parts};
use crate::layout::{Habits, below};
use crate::leaves::Leaves;
use crate::objective::{Objective, Task, Transform};
use crate::trees::{MOST_FEATURES, MOST_NODES, MOST_SCORES, MOST_TREES, Node, Sets, Test, Tree};

pub(crate) const READER: Reader = Reader("XGBoost");

/// The bounds that XGBoost puts on a base score that is a probability.
const LEAST_PROBABILITY: f32 = 1e-6;

/// A model as read.
pub(crate) struct Model {
    pub(crate) forest: Forest<f32, f32>,
    pub(crate) objective: Objective,
    /// Of each feature; empty where none is encoded.
    pub(crate) encodings: Vec<Encoding>,
    /// Empty where the model has none.
    pub(crate) names: Vec<String>,
    pub(crate) version: String,
}

/// Reads a model; `is_text` says whether it is JSON.
pub(crate) fn read(bytes: &[u8], is_text: bool) -> Read<Model> {
    let document = if is_text { from_json(READER, bytes) } else { from_ubjson(READER, bytes) }?;
    let learner = document.need(READER, "learner")?;
    let params = learner.need(READER, "learner_model_param")?;
    let booster = learner.need(READER, "gradient_booster")?;
    let features = params.count_of(READER, "num_feature", MOST_FEATURES)?;
    let name = learner.need(READER, "objective")?.text_of(READER, "name")?;
    let classes = params.count_of(READER, "num_class", MOST_SCORES)?;
    let targets = params.get("num_target").map_or(Ok(1), |_| params.count_of(READER, "num_target", MOST_SCORES))?;
    let scores = classes.max(targets).max(1);
    let objective = objective(name, classes, targets)?;
    let base = base(params, name, scores)?;
    let (model, weights) = match booster.text_of(READER, "name")? {
        "gbtree" => (booster.need(READER, "model")?, booster.get("weight_drop")),
        "dart" => (booster.need(READER, "gbtree")?.need(READER, "model")?, booster.get("weight_drop")),
        "gblinear" => return Err(READER.unsupported("a linear booster (gblinear)")),
        other => return Err(READER.unsupported(format!("a booster '{other}'"))),
    };
    let encodings = encoding::read(READER, model, features)?;
    let weights =
        weights.map(|weights| weights.numbers().ok_or_else(|| READER.corrupt("'weight_drop' is no list of numbers")));
    let forest = Builder { features, scores, weights: weights.transpose()?, ..Builder::default() };
    let forest = forest.build(model, best_iteration(learner), base)?;
    let names = learner.get("feature_names").and_then(Document::texts).unwrap_or_default();
    if !names.is_empty() && names.len() != features {
        return Err(READER.corrupt(format!("{} names of {features} features", names.len())));
    }
    let version = document.get("version").and_then(Document::integers).unwrap_or_default();
    let version = version.iter().map(i64::to_string).collect::<Vec<_>>().join(".");
    Ok(Model { forest, objective, encodings, names, version })
}

/// The iterations that count: those up to the best one, where a model of XGBoost's scikit-learn interface stopped early.
fn best_iteration(learner: &Document) -> Option<usize> {
    let attributes = learner.get("attributes")?;
    attributes.get("scikit_learn")?;
    let best = attributes.get("best_iteration")?.integer()?;
    usize::try_from(best).ok()?.checked_add(1)
}

fn objective(name: &str, classes: usize, targets: usize) -> Read<Objective> {
    let (task, transform) = match name {
        "binary:logitraw"
        | "reg:squarederror"
        | "reg:squaredlogerror"
        | "reg:pseudohubererror"
        | "reg:absoluteerror"
        | "reg:quantileerror"
        | "reg:linear" => (Task::Regression, Transform::Identity),
        "reg:logistic" => (Task::Regression, Transform::SingleSigmoid),
        "binary:logistic" if targets > 1 => (Task::Labels, Transform::SingleSigmoid),
        "binary:logistic" => (Task::Binary, Transform::SingleSigmoid),
        "binary:hinge" => (Task::Regression, Transform::Hinge),
        "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => {
            (Task::Regression, Transform::Exponent)
        }
        "multi:softprob" if classes > 0 => (Task::Classes, Transform::Softmax),
        "multi:softmax" if classes > 0 => (Task::Classes, Transform::Greatest),
        "rank:pairwise" | "rank:ndcg" | "rank:map" => (Task::Ranking, Transform::Identity),
        other => return Err(READER.unsupported(format!("the objective '{other}'"))),
    };
    Ok(Objective::new(name, task, transform))
}

/// The values that sums start from: the base scores before the objective's transformation.
fn base(params: &Document, objective: &str, scores: usize) -> Read<Vec<f32>> {
    let wrong = || READER.corrupt("'base_score' is no list of numbers");
    let text = params.need(READER, "base_score")?;
    let list: Vec<f32> = match text.text() {
        // A list in a text, since 3.1.
        Some(text) => {
            let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
            inner.split(',').map(|score| score.trim().parse().map_err(|_| wrong())).collect::<Read<_>>()?
        }
        None => vec![text.number().ok_or_else(wrong)? as f32],
    };
    let list = match list.as_slice() {
        &[score] => vec![score; scores],
        list if list.len() == scores => list.to_vec(),
        list => return Err(READER.corrupt(format!("{} base scores for {scores} scores", list.len()))),
    };
    let margin = |score: f32| match objective {
        "reg:logistic" | "binary:logistic" => {
            let score = score.clamp(LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY);
            -(1.0 / score - 1.0).ln()
        }
        "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => score.ln(),
        _ => score,
    };
    Ok(list.into_iter().map(margin).collect())
}

/// The trees while they are read.
#[derive(Default)]
struct Builder {
    features: usize,
    scores: usize,
    /// Of DART, for each tree.
    weights: Option<Vec<f64>>,
    trees: Vec<Tree>,
    scalars: Vec<f32>,
    vectors: Vec<f32>,
    sets: Sets,
}

impl Builder {
    fn build(mut self, model: &Document, iterations: Option<usize>, base: Vec<f32>) -> Read<Forest<f32, f32>> {
        let list = model.list_of(READER, "trees")?;
        let groups = model.integers_of(READER, "tree_info")?;
        if list.len() > MOST_TREES || groups.len() != list.len() {
            return Err(READER.corrupt(format!("{} trees, and 'tree_info' of {}", list.len(), groups.len())));
        }
        if let Some(weights) = &self.weights
            && !weights.is_empty()
            && weights.len() != list.len()
        {
            return Err(READER.corrupt(format!("{} trees, and weights of {}", list.len(), weights.len())));
        }
        let count = self.count(model, iterations, list.len())?;
        for (index, (tree, &group)) in list.iter().zip(&groups).enumerate().take(count) {
            let group = usize::try_from(group).ok().filter(|&group| group < self.scores);
            let group = group.ok_or_else(|| READER.corrupt(format!("tree {index} adds to no score")))?;
            self.tree(index, tree, group)?;
        }
        let Self { features, trees, scalars, vectors, sets, .. } = self;
        let leaves = match (scalars.is_empty(), vectors.is_empty()) {
            (_, true) => Leaves::Scalar(scalars),
            (true, false) => Leaves::Vector(vectors),
            (false, false) => return Err(READER.corrupt("some trees have one value in a leaf, some have several")),
        };
        Forest::new(READER, Parts { trees, leaves, sets, habits: Habits::XgBoost, base, features })
    }

    /// Trees of that many iterations.
    fn count(&self, model: &Document, iterations: Option<usize>, trees: usize) -> Read<usize> {
        let Some(iterations) = iterations else { return Ok(trees) };
        let ends = match model.get("iteration_indptr") {
            Some(ends) => {
                ends.integers().ok_or_else(|| READER.corrupt("'iteration_indptr' is no list of whole numbers"))?
            }
            None => {
                let params = model.need(READER, "gbtree_model_param")?;
                let parallel = params.count_of(READER, "num_parallel_tree", MOST_TREES)?.max(1);
                let each = parallel.saturating_mul(self.scores);
                return Ok(each.saturating_mul(iterations).min(trees));
            }
        };
        let end = ends.get(iterations).map_or(Ok(trees), |&end| usize::try_from(end));
        end.ok().filter(|&end| end <= trees).ok_or_else(|| READER.corrupt("'iteration_indptr' goes beyond the trees"))
    }

    fn tree(&mut self, index: usize, tree: &Document, group: usize) -> Read<()> {
        let wrong = |what: &str| READER.corrupt(format!("tree {index}: {what}"));
        let left = tree.integers_of(READER, "left_children")?;
        let right = tree.integers_of(READER, "right_children")?;
        let features = tree.integers_of(READER, "split_indices")?;
        let conditions = tree.numbers_of(READER, "split_conditions")?;
        let defaults = tree.integers_of(READER, "default_left")?;
        let nodes = left.len();
        if [right.len(), features.len(), conditions.len(), defaults.len()].iter().any(|&len| len != nodes)
            || nodes == 0
            || nodes > MOST_NODES
        {
            return Err(wrong("its lists differ in length"));
        }
        let sets = self.categories(index, tree, nodes)?;
        let params = tree.need(READER, "tree_param")?;
        let size = params.count_of(READER, "size_leaf_vector", MOST_SCORES)?;
        let vectors = if size > 1 { Some(Vectors::read(tree, nodes, size, self.scores)?) } else { None };
        let weight = self.weights.as_ref().and_then(|weights| weights.get(index)).map_or(1.0, |&weight| weight as f32);
        let mut list = Vec::with_capacity(nodes);
        for at in 0..nodes {
            if left[at] == -1 {
                let number = match &vectors {
                    Some(vectors) => {
                        let values = vectors.leaf(at, right[at]).ok_or_else(|| wrong("a leaf has no values"))?;
                        self.vectors.extend(values.iter().map(|&value| value as f32 * weight));
                        self.vectors.len() / self.scores - 1
                    }
                    None => {
                        self.scalars.push(conditions[at] as f32 * weight);
                        self.scalars.len() - 1
                    }
                };
                let number = u32::try_from(number).map_err(|_| wrong("it has too many leaves"))?;
                list.push(Node::Leaf(number));
                continue;
            }
            // A removed node has children that are none, and is reached by no traversal.
            let [left, right] = [left[at], right[at]].map(|child| u32::try_from(child).unwrap_or(u32::MAX));
            let feature = u32::try_from(features[at]).unwrap_or(u32::MAX);
            let is_default_left = defaults[at] != 0;
            list.push(match sets.as_ref().and_then(|sets| sets[at]) {
                // A category of the set goes right.
                Some(set) => Node::Branch {
                    feature,
                    test: Test::Member(set),
                    children: [right, left],
                    missing: !is_default_left,
                    zero: None,
                },
                None => Node::Branch {
                    feature,
                    test: Test::AtMost(f64::from(below(conditions[at] as f32))),
                    children: [left, right],
                    missing: is_default_left,
                    zero: None,
                },
            });
        }
        let score = u32::try_from(group).map_err(|_| wrong("it adds to no score"))?;
        self.trees.push(Tree { nodes: list, score });
        Ok(())
    }

    /// The set of each node that asks for a category; `None` where no node does.
    fn categories(&mut self, index: usize, tree: &Document, nodes: usize) -> Read<Option<Vec<Option<u32>>>> {
        let wrong = |what: &str| READER.corrupt(format!("tree {index}: {what}"));
        let Some(types) = tree.get("split_type").and_then(Document::integers) else { return Ok(None) };
        if types.iter().all(|&kind| kind == 0) {
            return Ok(None);
        }
        let owners = tree.integers_of(READER, "categories_nodes")?;
        let starts = tree.integers_of(READER, "categories_segments")?;
        let sizes = tree.integers_of(READER, "categories_sizes")?;
        let categories = tree.integers_of(READER, "categories")?;
        if types.len() != nodes || owners.len() != starts.len() || owners.len() != sizes.len() {
            return Err(wrong("its lists of categories differ in length"));
        }
        let mut sets = vec![None; nodes];
        let mut left = categories.len();
        for ((&owner, &start), &size) in owners.iter().zip(&starts).zip(&sizes) {
            let node = usize::try_from(owner).ok().filter(|&node| types.get(node) == Some(&1) && sets[node].is_none());
            let node = node.ok_or_else(|| wrong("categories of no node"))?;
            let (start, size) = (usize::try_from(start).ok(), usize::try_from(size).ok().filter(|&size| size <= left));
            let run = start.zip(size).and_then(|(start, size)| categories.get(start..start.checked_add(size)?));
            let run = run.ok_or_else(|| wrong("categories outside of its list"))?;
            left -= run.len();
            let mut words = Vec::new();
            for &category in run {
                let category = u32::try_from(category).ok().filter(|&category| category < 1 << 24);
                let category = category.ok_or_else(|| wrong("a number that is no category"))?;
                let word = category as usize / 32;
                if words.len() <= word {
                    words.resize(word + 1, 0);
                }
                words[word] |= 1 << (category % 32);
            }
            sets[node] = Some(self.sets.push(READER, words)?);
        }
        // A node of this type without categories sends all to the left, as a set without members does.
        for (set, &kind) in sets.iter_mut().zip(&types) {
            if kind == 1 && set.is_none() {
                *set = Some(self.sets.push(READER, [])?);
            }
        }
        Ok(Some(sets))
    }
}

/// Leaves with a value for each target.
struct Vectors {
    values: Vec<f64>,
    size: usize,
    /// Whether the values are listed by leaf, not by node.
    by_leaf: bool,
}

impl Vectors {
    fn read(tree: &Document, nodes: usize, size: usize, scores: usize) -> Read<Self> {
        if size != scores {
            return Err(READER.corrupt(format!("a leaf has {size} values for {scores} scores")));
        }
        let by_leaf = tree.get("leaf_weights").is_some();
        let values = tree.numbers_of(READER, if by_leaf { "leaf_weights" } else { "base_weights" })?;
        if !by_leaf && values.len() != nodes.saturating_mul(size) {
            return Err(READER.corrupt("the values of leaves are not as many as its nodes"));
        }
        Ok(Self { values, size, by_leaf })
    }

    /// The values of the leaf at a node whose right child is said to be `right`.
    fn leaf(&self, node: usize, right: i64) -> Option<&[f64]> {
        let index = if self.by_leaf { usize::try_from(right).ok()? } else { node };
        let start = index.checked_mul(self.size)?;
        self.values.get(start..start.checked_add(self.size)?)
    }
}
