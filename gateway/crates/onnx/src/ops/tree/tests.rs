//! Packed walks against a plain reading of the specification, and what is refused.

use super::arrays::{Arrays, Floats, Ints, Modes};
use super::forest::Forest;
use super::layout::Scalar;
use super::mode::Mode;
use super::spec::{Spec, TreeError, TreeLimits};

/// A small generator: tests are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn id(&mut self, end: usize) -> i64 {
        self.below(end).try_into().unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

#[derive(Default)]
struct Owned {
    trees: Vec<i64>,
    nodes: Vec<i64>,
    features: Vec<i64>,
    modes: Vec<Mode>,
    values: Vec<f64>,
    yes: Vec<i64>,
    no: Vec<i64>,
    missing: Vec<i64>,
    vote_trees: Vec<i64>,
    vote_nodes: Vec<i64>,
    vote_classes: Vec<i64>,
    vote_weights: Vec<f64>,
}

impl Owned {
    fn arrays(&self) -> Arrays<'_> {
        Arrays {
            nodes_treeids: Ints::Listed(&self.trees),
            nodes_nodeids: Ints::Listed(&self.nodes),
            nodes_featureids: Ints::Listed(&self.features),
            nodes_modes: Modes::Known(self.modes.clone()),
            nodes_values: Floats::Doubles(self.values.clone()),
            nodes_truenodeids: Ints::Listed(&self.yes),
            nodes_falsenodeids: Ints::Listed(&self.no),
            nodes_missing_value_tracks_true: Ints::Listed(&self.missing),
            votes_treeids: Ints::Listed(&self.vote_trees),
            votes_nodeids: Ints::Listed(&self.vote_nodes),
            votes_classes: Ints::Listed(&self.vote_classes),
            votes_weights: Floats::Doubles(self.vote_weights.clone()),
            sets: SETS.map(<[f64]>::to_vec).to_vec(),
        }
    }

    fn spec(&self, classes: usize) -> Result<Spec, TreeError> {
        Spec::new(&self.arrays(), classes, &TreeLimits::default())
    }

    fn node(&mut self, tree: i64, node: i64, mode: Mode, [yes, no]: [i64; 2]) {
        self.trees.push(tree);
        self.nodes.push(node);
        self.features.push(0);
        self.modes.push(mode);
        self.values.push(0.5);
        self.yes.push(yes);
        self.no.push(no);
        self.missing.push(0);
    }

    fn vote(&mut self, tree: i64, node: i64, class: i64, weight: f64) {
        self.vote_trees.push(tree);
        self.vote_nodes.push(node);
        self.vote_classes.push(class);
        self.vote_weights.push(weight);
    }

    /// Root 0 with leaves 1 and 2.
    fn stump() -> Self {
        let mut stump = Self::default();
        stump.node(0, 0, Mode::LessEqual, [1, 2]);
        stump.node(0, 1, Mode::Leaf, [0, 0]);
        stump.node(0, 2, Mode::Leaf, [0, 0]);
        stump.vote(0, 1, 0, 1.0);
        stump.vote(0, 2, 1, 1.0);
        stump
    }

    /// Trees that grow at random leaves, of these modes, over features from `first`.
    fn random(random: &mut Random, modes: &[Mode], classes: usize, votes: usize, first: i64) -> Self {
        let mut forest = Self::default();
        for tree in 0..=random.id(20) {
            let mut open = vec![0];
            let mut next = 1;
            let size = random.id(60);
            while let Some(node) = (!open.is_empty()).then(|| open.swap_remove(random.below(open.len()))) {
                if next > size {
                    forest.node(tree, node, Mode::Leaf, [0, 0]);
                    for _ in 0..votes {
                        forest.vote(tree, node, random.id(classes), random.below(2000) as f64 / 1000.0 - 1.0);
                    }
                    continue;
                }
                forest.node(tree, node, random.pick(modes), [next, next + 1]);
                open.extend([next, next + 1]);
                next += 2;
                let index = forest.nodes.len() - 1;
                forest.features[index] = first + random.id(FEATURES);
                forest.values[index] = random.pick(&THRESHOLDS);
                forest.missing[index] = random.id(2);
            }
        }
        forest
    }
}

const SETS: [&[f64]; 3] = [&[0.5, -1.0], &[], &[f64::INFINITY, 0.0, 1.000_000_1, 0.1]];
const FEATURES: usize = 4;
/// Some are no `f32`, some have no neighbour below.
const THRESHOLDS: [f64; 12] =
    [-1.0, 0.0, -0.0, 0.1, 0.5, 1.0, 1e300, -1e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.000_000_01];
const VALUES: [f32; 11] =
    [-1.0, 0.0, -0.0, 0.1, 0.5, 1.0, 1.000_000_1, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE];

/// Walks as the specification reads.
#[expect(clippy::float_cmp, reason = "what the specification says")]
fn naive(spec: &Spec, row: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; spec.classes];
    for tree in &spec.trees {
        let mut node = &spec.nodes[tree.root as usize];
        loop {
            let (value, threshold) = (row.get(node.feature as usize).copied().unwrap_or(0.0), node.threshold);
            let holds = match node.mode {
                Mode::LessEqual => value <= threshold,
                Mode::Less => value < threshold,
                Mode::GreaterEqual => value >= threshold,
                Mode::Greater => value > threshold,
                Mode::Equal => value == threshold,
                Mode::NotEqual => value != threshold,
                Mode::Member(set) => spec.sets[set as usize].contains(&value),
                Mode::Leaf => break,
            };
            let [yes, no] = node.children;
            node = &spec.nodes[if holds || node.missing_is_true && value.is_nan() { yes } else { no } as usize];
        }
        for &(class, weight) in &spec.votes[node.votes.start as usize..node.votes.end as usize] {
            sums[class as usize] += weight;
        }
    }
    sums
}

fn compare<T: Scalar + Into<f64> + From<f32>>(spec: &Spec, random: &mut Random, width: usize) {
    let forest = Forest::<T>::new(spec).unwrap();
    for count in [1, 2, 9, 300] {
        let rows: Vec<T> = (0..count * width).map(|_| random.pick(&VALUES).into()).collect();
        let mut seen = 0;
        forest.sum(&rows, width, |row, sums| {
            let values: Vec<f64> = rows[row * width..(row + 1) * width].iter().map(|&value| value.into()).collect();
            let expected = naive(spec, &values);
            for (sum, expected) in sums.iter().zip(&expected) {
                assert!((sum - expected).abs() < 1e-5, "{sums:?} for {expected:?}");
            }
            assert_eq!((row, sums.len()), (seen, spec.classes));
            seen += 1;
        });
        assert_eq!(seen, count);
    }
}

#[test]
fn packed_walks_equal_naive_ones() {
    let bounds = [Mode::LessEqual, Mode::Less, Mode::GreaterEqual, Mode::Greater];
    let others = [Mode::Equal, Mode::NotEqual, Mode::Member(0), Mode::Member(1), Mode::Member(2)];
    let all = [&bounds[..], &others].concat();
    let mut random = Random(11);
    for round in 0..60 {
        let modes = if round % 2 == 0 { &all[..] } else { &all[..=random.below(4)] };
        // One vote, few classes, more, and more than are kept densely.
        let (classes, votes) = random.pick(&[(2, 1), (3, 2), (4, 4), (7, 7), (8, 3), (20, 3)]);
        let spec = Owned::random(&mut random, modes, classes, votes, 0).spec(classes).unwrap();
        compare::<f32>(&spec, &mut random, FEATURES);
        compare::<f64>(&spec, &mut random, FEATURES + 1);
    }
}

#[test]
fn features_beyond_sixteen_bits_work() {
    let mut random = Random(5);
    let spec = Owned::random(&mut random, &[Mode::LessEqual], 3, 1, 70_000).spec(3).unwrap();
    compare::<f32>(&spec, &mut random, 70_000 + FEATURES);
}

#[test]
fn narrow_rows_are_not_walked() {
    let mut stump = Owned::stump();
    stump.features[0] = 3;
    let forest = Forest::<f32>::new(&stump.spec(2).unwrap()).unwrap();
    assert_eq!(forest.features(), 4);
    forest.sum(&[0.0; 6], 3, |_, _| panic!("walked"));
}

#[test]
fn a_row_without_votes_is_marked() {
    let forest = Forest::<f32>::new(&Owned::stump().spec(3).unwrap()).unwrap();
    forest.sum(&[0.0], 1, |_, sums| {
        assert_eq!(sums.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>(), [1.0, -0.0, -0.0].map(f64::to_bits));
    });
}

#[test]
fn order_and_gaps_of_ids_do_not_matter() {
    let mut sparse = Owned::default();
    sparse.node(7, 30, Mode::Leaf, [0, 0]);
    sparse.node(7, 10, Mode::LessEqual, [20, 30]);
    sparse.node(7, 20, Mode::Leaf, [0, 0]);
    sparse.vote(7, 30, 1, 1.0);
    sparse.vote(7, 20, 0, 1.0);
    // A branch's votes are ignored.
    sparse.vote(7, 10, 0, 9.0);
    let spec = sparse.spec(2).unwrap();
    assert_eq!((naive(&spec, &[0.0]), naive(&spec, &[1.0])), (vec![1.0, 0.0], vec![0.0, 1.0]));
}

#[test]
fn what_is_no_tree_is_refused() {
    type Change = fn(&mut Owned);
    let cases: [(Change, TreeError); 9] = [
        (|stump| stump.yes[0] = 5, TreeError::NoSuchChild { tree: 0, node: 0, child: 5 }),
        (|stump| stump.yes[0] = 2, TreeError::SharedChild { tree: 0, node: 2 }),
        (|stump| stump.nodes[1] = 2, TreeError::Duplicate { tree: 0, node: 2 }),
        (|stump| stump.vote_classes[0] = 2, TreeError::Class { class: 2, classes: 2 }),
        (|stump| stump.vote_classes[0] = -1, TreeError::Class { class: -1, classes: 2 }),
        (|stump| stump.vote_nodes[1] = 9, TreeError::NoSuchLeaf { tree: 0, node: 9 }),
        (|stump| stump.vote_trees[0] = -3, TreeError::NoSuchLeaf { tree: -3, node: 1 }),
        (|stump| stump.features.truncate(1), TreeError::Length { name: "nodes_featureids", found: 1, expected: 3 }),
        (
            |stump| stump.features[0] = -1,
            TreeError::Feature { tree: 0, node: 0, feature: -1, width: u32::MAX as usize },
        ),
    ];
    for (change, expected) in cases {
        let mut stump = Owned::stump();
        change(&mut stump);
        assert_eq!(stump.spec(2).unwrap_err(), expected);
    }
    // A branch that is its own child leaves a leaf as the root; without that leaf there is none.
    let mut own = Owned::stump();
    own.yes[0] = 0;
    assert_eq!(own.spec(2).unwrap_err(), TreeError::Cycle { tree: 0, nodes: 2 });
    // A ring beside a tree.
    let mut ring = Owned::stump();
    ring.node(0, 3, Mode::LessEqual, [4, 5]);
    ring.node(0, 4, Mode::LessEqual, [3, 6]);
    ring.node(0, 5, Mode::Leaf, [0, 0]);
    ring.node(0, 6, Mode::Leaf, [0, 0]);
    assert_eq!(ring.spec(2).unwrap_err(), TreeError::Cycle { tree: 0, nodes: 4 });
    assert!(matches!(Owned::default().spec(2), Err(TreeError::Attribute(..))));
}

#[test]
fn lists_in_disguise_are_refused() {
    let mut list = Owned::default();
    let depth = i64::try_from(TreeLimits::default().depth).unwrap() + 1;
    for level in 0..depth {
        list.node(0, 2 * level, Mode::LessEqual, [2 * level + 1, 2 * level + 2]);
        list.node(0, 2 * level + 1, Mode::Leaf, [0, 0]);
    }
    list.node(0, 2 * depth, Mode::Leaf, [0, 0]);
    assert!(matches!(list.spec(1), Err(TreeError::Limit { what: "levels in a tree", .. })));
}
