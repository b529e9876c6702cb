//! Binary decision trees as a file has them, checked.

use crate::error::{Read, Reader};

/// The most trees, nodes and scores of a model taken: far beyond what is trained.
pub(crate) const MOST_TREES: usize = 1 << 22;
pub(crate) const MOST_NODES: usize = 1 << 30;
pub(crate) const MOST_SCORES: usize = 1 << 16;
pub(crate) const MOST_FEATURES: usize = 1 << 24;

/// Steps from a root to a leaf; LightGBM's deepest trees take some hundreds.
const MOST_STEPS: u32 = 4096;

/// Words of all sets of categories: a file names few categories of large numbers in few bytes, and each takes many words.
const MOST_WORDS: usize = 1 << 24;

/// The question that a branch asks a row's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Test {
    /// Whether the value is at most this.
    AtMost(f64),
    /// Whether the value is in this set of categories.
    Member(u32),
}

/// One node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Node {
    /// The end of a traversal, with the number of its leaf in the model.
    Leaf(u32),
    /// A question.
    Branch {
        /// The feature asked.
        feature: u32,
        /// The question.
        test: Test,
        /// The nodes that follow yes and no, in the tree.
        children: [u32; 2],
        /// Whether a missing value is a yes.
        missing: bool,
        /// Whether a zero is a yes whatever the question; `None` where zeros are values like others.
        zero: Option<bool>,
    },
}

/// One tree; its first node is its root.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    /// The score that its leaves add to, where a leaf has one value.
    pub(crate) score: u32,
}

/// Sets of categories, each a run of bits in one list of words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sets {
    /// (the first word, words) of each set.
    runs: Vec<(u32, u32)>,
    words: Vec<u32>,
}

impl Sets {
    /// Adds a set of which bit `n` says whether `n` is a member; gives its number.
    pub(crate) fn push(&mut self, reader: Reader, words: impl IntoIterator<Item = u32>) -> Read<u32> {
        let (first, number) = (self.words.len(), self.runs.len());
        self.words.extend(words);
        if self.words.len() > MOST_WORDS {
            return Err(reader.unsupported("sets of categories of more than 64 MiB"));
        }
        let run = u32::try_from(first).ok().zip(u32::try_from(self.words.len() - first).ok());
        self.runs.push(run.ok_or_else(|| reader.corrupt("its sets of categories are too large"))?);
        // The packed nodes keep the number in 28 bits.
        u32::try_from(number)
            .ok()
            .filter(|&number| number < 1 << 28)
            .ok_or_else(|| reader.corrupt("it has too many sets"))
    }

    /// Whether a number is in a set.
    pub(crate) fn has(&self, set: u32, member: u32) -> bool {
        let Some(&(first, words)) = self.runs.get(set as usize) else { return false };
        let index = member / 32;
        index < words && self.words[(first + index) as usize] >> (member % 32) & 1 == 1
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.runs.as_slice()) + size_of_val(self.words.as_slice())
    }
}

impl Tree {
    /// Checks that the nodes that its root leads to are a tree over that many features; gives the steps to the furthest leaf.
    pub(crate) fn check(&self, reader: Reader, tree: usize, features: usize) -> Read<u32> {
        let mut seen = vec![false; self.nodes.len()];
        let mut pending = vec![(0u32, 0u32)];
        let mut furthest = 0;
        while let Some((at, depth)) = pending.pop() {
            let node = self.nodes.get(at as usize);
            let node = node.ok_or_else(|| reader.corrupt(format!("tree {tree} has no node {at}")))?;
            if std::mem::replace(&mut seen[at as usize], true) {
                return Err(reader.corrupt(format!("node {at} of tree {tree} has two parents")));
            }
            match *node {
                Node::Leaf(_) => furthest = furthest.max(depth),
                Node::Branch { feature, children, .. } => {
                    if feature as usize >= features {
                        return Err(reader.corrupt(format!(
                            "node {at} of tree {tree} asks feature {feature}, and there are {features}"
                        )));
                    }
                    if depth == MOST_STEPS {
                        return Err(reader.unsupported(format!("a tree of more than {MOST_STEPS} levels")));
                    }
                    pending.extend(children.map(|child| (child, depth + 1)));
                }
            }
        }
        Ok(furthest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: Reader = Reader("test");

    fn branch(feature: u32, children: [u32; 2]) -> Node {
        Node::Branch { feature, test: Test::AtMost(0.0), children, missing: false, zero: None }
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let tree = |nodes: &[Node]| Tree { nodes: nodes.to_vec(), score: 0 }.check(READER, 0, 2);
        assert_eq!(tree(&[Node::Leaf(0)]), Ok(0));
        assert_eq!(tree(&[branch(1, [1, 2]), Node::Leaf(0), Node::Leaf(1)]), Ok(1));
        for bad in [
            vec![],
            vec![branch(0, [0, 0])],
            vec![branch(0, [1, 1]), Node::Leaf(0)],
            vec![branch(0, [1, 2]), branch(0, [0, 2]), Node::Leaf(0)],
            vec![branch(2, [1, 2]), Node::Leaf(0), Node::Leaf(1)],
            vec![branch(0, [1, u32::MAX]), Node::Leaf(0)],
        ] {
            assert!(tree(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sets_end_where_their_words_end() {
        let mut sets = Sets::default();
        let first = sets.push(READER, [1]).expect("small");
        let second = sets.push(READER, [0, 2]).expect("small");
        assert!(sets.has(first, 0) && sets.has(second, 33));
        assert!(!sets.has(first, 32) && !sets.has(second, 32) && !sets.has(second, 64) && !sets.has(9, 0));
    }
}
