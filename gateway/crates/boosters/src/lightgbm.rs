//! Models of LightGBM: `.txt`, as `save_model` writes them since 2.0.

use std::collections::HashMap;

use crate::document::{self, Document};
use crate::encoding::{self, Encoding};
use crate::error::{Read, Reader};
use crate::forest::{Forest, Parts};
use crate::layout::Habits;
use crate::leaves::{Leaves, LinearLeaf};
use crate::objective::{Objective, Task, Transform};
use crate::trees::{MOST_FEATURES, MOST_NODES, MOST_SCORES, MOST_TREES, Node, Sets, Test, Tree};

pub(crate) const READER: Reader = Reader("LightGBM");

/// The first line of a model.
pub(crate) const FIRST_LINE: &str = "tree";

/// The beginning of the line with the categories of the frame that a model was trained with.
const CATEGORIES: &str = "pandas_categorical:";

/// A model as read.
pub(crate) struct Model {
    pub(crate) forest: Forest<f64, f64>,
    pub(crate) objective: Objective,
    /// Of each feature; empty where none is encoded.
    pub(crate) encodings: Vec<Encoding>,
    /// Empty where the model has none but numbered ones.
    pub(crate) names: Vec<String>,
    pub(crate) version: String,
}

/// Lines of the form `key=value`.
struct Section<'a>(HashMap<&'a str, &'a str>);

impl<'a> Section<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).copied()
    }

    fn need(&self, key: &str) -> Read<&'a str> {
        self.get(key).ok_or_else(|| READER.corrupt(format!("'{key}' is missing")))
    }

    fn count(&self, key: &str, most: usize) -> Read<usize> {
        let count = self.need(key)?.trim().parse().ok().filter(|&count| count <= most);
        count.ok_or_else(|| READER.corrupt(format!("'{key}' is no whole number from 0 to {most}")))
    }

    /// A list of that many items.
    fn list<T: std::str::FromStr>(&self, key: &str, count: usize) -> Read<Vec<T>> {
        list(key, self.need(key)?, count)
    }
}

fn list<T: std::str::FromStr>(key: &str, text: &str, count: usize) -> Read<Vec<T>> {
    // Counted before it is allocated.
    let found = text.split_ascii_whitespace().count();
    if found != count {
        return Err(READER.corrupt(format!("'{key}' has {found} items, not {count}")));
    }
    let parsed = text.split_ascii_whitespace().map(|item| item.parse().ok()).collect::<Option<Vec<T>>>();
    parsed.ok_or_else(|| READER.corrupt(format!("'{key}' is no list of numbers")))
}

/// Reads a model.
pub(crate) fn read(bytes: &[u8]) -> Read<Model> {
    let text = std::str::from_utf8(bytes).map_err(|_| READER.corrupt("it is not UTF-8"))?;
    let mut lines = text.lines().map(str::trim_end).peekable();
    let mut header = Section(HashMap::new());
    while let Some(line) = lines.next_if(|line| !line.starts_with("Tree=") && *line != "end of trees") {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        header.0.insert(key, value);
    }
    let features = header.count("max_feature_idx", MOST_FEATURES)? + 1;
    let classes = header.count("num_class", MOST_SCORES)?;
    let scores = header
        .get("num_tree_per_iteration")
        .map_or(Ok(classes), |_| header.count("num_tree_per_iteration", MOST_SCORES))?;
    if scores == 0 {
        return Err(READER.corrupt("it has no scores"));
    }
    let mut builder = Builder::default();
    while let Some(line) = lines.next_if(|line| line.is_empty() || line.starts_with("Tree=")) {
        if line.is_empty() {
            continue;
        }
        if builder.trees.len() >= MOST_TREES {
            return Err(READER.corrupt(format!("more than {MOST_TREES} trees")));
        }
        let mut section = Section(HashMap::new());
        while let Some(line) = lines.next_if(|line| !line.is_empty()) {
            if let Some((key, value)) = line.split_once('=') {
                section.0.insert(key, value);
            }
        }
        let score = builder.trees.len() % scores;
        builder.tree(&section, score)?;
    }
    if lines.next() != Some("end of trees") {
        return Err(READER.corrupt("its trees end without 'end of trees'"));
    }
    let iterations = builder.trees.len() / scores;
    // An iteration that is not complete is not asked.
    builder.trees.truncate(iterations * scores);
    let mut objective = objective(header.get("objective"), scores)?;
    if header.get("average_output").is_some() {
        objective = objective.divided(iterations as f64);
    }
    let names: Vec<String> = header.need("feature_names")?.split(' ').map(str::to_owned).collect();
    if names.len() != features {
        return Err(READER.corrupt(format!("{} names of {features} features", names.len())));
    }
    let is_numbered = names.iter().enumerate().all(|(index, name)| *name == format!("Column_{index}"));
    let names = if is_numbered { Vec::new() } else { names };
    let encodings = match lines.find_map(|line| line.strip_prefix(CATEGORIES)) {
        Some(text) => encodings(text, header.get("feature_infos").unwrap_or_default(), features)?,
        None => Vec::new(),
    };
    let version = header.get("version").unwrap_or_default().to_owned();
    let forest = builder.build(features, scores)?;
    Ok(Model { forest, objective, encodings, names, version })
}

/// The encodings of features. A feature that is a category has its values in its information, others a range in brackets.
fn encodings(text: &str, information: &str, features: usize) -> Read<Vec<Encoding>> {
    let categories = document::from_json(READER, text.as_bytes())?;
    let columns = match &categories {
        Document::Null => return Ok(Vec::new()),
        categories => categories.list().ok_or_else(|| READER.corrupt("'pandas_categorical' is no list"))?,
    };
    let information: Vec<&str> = information.split_ascii_whitespace().collect();
    if information.len() != features {
        return Err(READER.corrupt(format!("'feature_infos' of {}, not of {features}", information.len())));
    }
    let is_category: Vec<bool> =
        information.iter().map(|information| !information.starts_with('[') && *information != "none").collect();
    encoding::of_pandas(READER, columns, &is_category)
}

fn objective(line: Option<&str>, scores: usize) -> Read<Objective> {
    let Some(line) = line else {
        // Trained by a function of the user's own: raw scores are all there is.
        return Ok(Objective::new("custom", Task::Regression, Transform::Identity));
    };
    let mut words = line.split_ascii_whitespace();
    let name = words.next().unwrap_or_default();
    let mut factor = 1.0;
    let mut is_square = false;
    for word in words {
        match word.split_once(':') {
            Some(("sigmoid", number)) => {
                factor = number.parse().map_err(|_| READER.corrupt("'sigmoid' is no number"))?;
            }
            None if word == "sqrt" => is_square = true,
            _ => {}
        }
    }
    let (task, transform) = match name {
        "regression" | "regression_l2" | "regression_l1" | "huber" | "fair" | "quantile" | "mape" => {
            (Task::Regression, if is_square { Transform::SignedSquare } else { Transform::Identity })
        }
        "poisson" | "gamma" | "tweedie" => (Task::Regression, Transform::Exponent),
        "binary" => (Task::Binary, Transform::Sigmoid(factor)),
        "multiclass" | "softmax" => (Task::Classes, Transform::Softmax),
        "multiclassova" => (Task::Classes, Transform::Sigmoid(factor)),
        "cross_entropy" => (Task::Regression, Transform::Sigmoid(1.0)),
        "cross_entropy_lambda" => (Task::Regression, Transform::Softplus),
        "lambdarank" | "rank_xendcg" => (Task::Ranking, Transform::Identity),
        "custom" | "none" => (Task::Regression, Transform::Identity),
        other => return Err(READER.unsupported(format!("the objective '{other}'"))),
    };
    if task == Task::Binary && scores != 1 {
        return Err(READER.corrupt(format!("{scores} scores of two classes")));
    }
    Ok(Objective::new(name, task, transform))
}

/// The bits of a node's kind.
struct Decision(i64);

impl Decision {
    fn is_category(&self) -> bool {
        self.0 & 1 != 0
    }

    fn is_default_left(&self) -> bool {
        self.0 & 2 != 0
    }

    /// 0: nothing is missing, 1: zeros are, 2: NaN is.
    fn missing(&self) -> i64 {
        self.0 >> 2 & 3
    }
}

#[derive(Default)]
struct Builder {
    trees: Vec<Tree>,
    values: Vec<f64>,
    linear: Vec<LinearLeaf<f64>>,
    sets: Sets,
}

impl Builder {
    fn build(self, features: usize, scores: usize) -> Read<Forest<f64, f64>> {
        let Self { trees, values, linear, sets } = self;
        let leaves = if linear.is_empty() {
            Leaves::Scalar(values)
        } else if linear.len() == values.len() {
            Leaves::Linear(linear)
        } else {
            return Err(READER.corrupt("some trees are linear, some are not"));
        };
        let base = vec![0.0; scores];
        Forest::new(READER, Parts { trees, leaves, sets, habits: Habits::LightGbm, base, features })
    }

    fn tree(&mut self, section: &Section<'_>, score: usize) -> Read<()> {
        let index = self.trees.len();
        let wrong = |what: &str| READER.corrupt(format!("tree {index}: {what}"));
        let count = section.count("num_leaves", MOST_NODES)?;
        let branches = count.checked_sub(1).ok_or_else(|| wrong("it has no leaves"))?;
        let is_linear = section.get("is_linear").is_some_and(|flag| flag.trim() != "0");
        let values: Vec<f64> = section.list("leaf_value", count)?;
        let first = u32::try_from(self.values.len()).map_err(|_| wrong("it has too many leaves"))?;
        if is_linear {
            self.linear(section, &values)?;
        }
        self.values.extend(values);
        let leaf = |number: usize| Node::Leaf(first.saturating_add(number as u32));
        let score = u32::try_from(score).map_err(|_| wrong("it adds to no score"))?;
        if branches == 0 {
            self.trees.push(Tree { nodes: vec![leaf(0)], score });
            return Ok(());
        }
        let left: Vec<i64> = section.list("left_child", branches)?;
        let right: Vec<i64> = section.list("right_child", branches)?;
        let features: Vec<u32> = section.list("split_feature", branches)?;
        let thresholds: Vec<f64> = section.list("threshold", branches)?;
        let decisions: Vec<i64> = match section.get("decision_type") {
            Some(text) => list("decision_type", text, branches)?,
            None => vec![0; branches],
        };
        let sets = self.categories(section, index)?;
        let mut nodes = Vec::with_capacity(branches + count);
        for at in 0..branches {
            // The leaves follow the branches.
            let child = |child: i64| {
                let index =
                    if child < 0 { child.checked_neg().map(|child| child - 1 + branches as i64) } else { Some(child) };
                index.and_then(|index| u32::try_from(index).ok()).unwrap_or(u32::MAX)
            };
            let children = [child(left[at]), child(right[at])];
            let decision = Decision(decisions[at]);
            let threshold = thresholds[at];
            let is_left = decision.is_default_left();
            let (test, missing, zero) = if decision.is_category() {
                let set = (threshold >= 0.0).then_some(threshold as usize).and_then(|index| sets.get(index));
                let set = set.ok_or_else(|| wrong("it has no such set of categories"))?;
                (Test::Member(*set), false, None)
            } else {
                let (missing, zero) = match decision.missing() {
                    0 => (0.0 <= threshold, None),
                    1 => (is_left, Some(is_left)),
                    2 => (is_left, None),
                    _ => return Err(wrong("it has a kind of missing values that there is not")),
                };
                (Test::AtMost(threshold), missing, zero)
            };
            nodes.push(Node::Branch { feature: features[at], test, children, missing, zero });
        }
        nodes.extend((0..count).map(leaf));
        self.trees.push(Tree { nodes, score });
        Ok(())
    }

    fn categories(&mut self, section: &Section<'_>, index: usize) -> Read<Vec<u32>> {
        let count = section.get("num_cat").map_or(Ok(0), |_| section.count("num_cat", MOST_NODES))?;
        if count == 0 {
            return Ok(Vec::new());
        }
        let wrong = || READER.corrupt(format!("tree {index}: its sets of categories are not in order"));
        let bounds: Vec<usize> = section.list("cat_boundaries", count + 1)?;
        let words: Vec<u32> = section.list("cat_threshold", *bounds.last().ok_or_else(wrong)?)?;
        let sets = bounds.windows(2).map(|pair| {
            let run = words.get(pair[0]..pair[1]).ok_or_else(wrong)?;
            self.sets.push(READER, run.iter().copied())
        });
        sets.collect()
    }

    fn linear(&mut self, section: &Section<'_>, values: &[f64]) -> Read<()> {
        let constants: Vec<f64> = section.list("leaf_const", values.len())?;
        let counts: Vec<usize> = match section.get("num_features") {
            Some(text) => list("num_features", text, values.len())?,
            None => vec![0; values.len()],
        };
        let total = counts.iter().try_fold(0usize, |sum, &count| sum.checked_add(count));
        let total = total.ok_or_else(|| READER.corrupt("'num_features' is too large"))?;
        let features: Vec<u32> = list("leaf_features", section.get("leaf_features").unwrap_or_default(), total)?;
        let coefficients: Vec<f64> = list("leaf_coeff", section.get("leaf_coeff").unwrap_or_default(), total)?;
        let mut terms = features.into_iter().zip(coefficients);
        for ((&value, &constant), &count) in values.iter().zip(&constants).zip(&counts) {
            let terms = terms.by_ref().take(count).collect();
            self.linear.push(LinearLeaf { value, constant, terms });
        }
        Ok(())
    }
}
