//! A CatBoost model: from features to bytes to scores.

use std::collections::BTreeMap;
use std::collections::HashMap;

use super::READER;
use super::city;
use super::ctr::{self, Key, Table};
use super::symmetric::{BLOCK, Split, Symmetric};
use crate::booster::Kind;
use crate::error::Read;
use crate::trees::{MOST_FEATURES, MOST_SCORES};

/// Values that one byte tells apart beside 0.
const PER_BYTE: usize = 254;

/// The most bytes a row: a block of rows takes as many times 128.
const MOST_PLANES: u32 = 1 << 17;

/// A feature that is a number, as the file has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Float {
    /// Its place among the numbers.
    pub(super) index: usize,
    /// Its place among all features.
    pub(super) flat: usize,
    pub(super) borders: Vec<f32>,
    /// The value that a missing one counts as.
    pub(super) missing: Option<f32>,
    pub(super) name: String,
}

/// A feature that is a category, as the file has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Category {
    /// Its place among the categories.
    pub(super) index: usize,
    /// Its place among all features.
    pub(super) flat: usize,
    /// The hashes of values that have a byte's value each; empty where it has none.
    pub(super) values: Vec<i32>,
    pub(super) name: String,
}

/// The trees as the file has them.
#[derive(Debug)]
pub(super) enum Plan {
    /// The splits of each tree, by their numbers.
    Symmetric(Vec<Vec<usize>>),
    /// Nodes of all trees, and where each tree starts.
    Other(Vec<Step>, Vec<usize>),
}

/// A node: how far behind it the children are; 0 where the traversal ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) split: usize,
    pub(super) left: usize,
    pub(super) right: usize,
    /// The first of its leaf's values, for a traversal that ends here.
    pub(super) leaf: usize,
}

/// The parts of a file.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) floats: Vec<Float>,
    pub(super) categories: Vec<Category>,
    /// The place among `categories` of each that has a byte, in the order in which the file has them.
    pub(super) one_hot: Vec<usize>,
    pub(super) ctrs: Vec<ctr::Feature>,
    pub(super) tables: BTreeMap<Key, Table>,
    pub(super) plan: Plan,
    pub(super) leaves: Vec<f64>,
    pub(super) dimension: usize,
    pub(super) scale: f64,
    pub(super) bias: Vec<f64>,
}

/// A model.
#[derive(Debug)]
pub(crate) struct Model {
    kinds: Vec<Kind>,
    names: Vec<String>,
    floats: Vec<Float>,
    categories: Vec<Category>,
    one_hot: Vec<usize>,
    /// Each with the place of its table.
    ctrs: Vec<(ctr::Feature, usize)>,
    tables: Vec<Table>,
    bytes_a_row: usize,
    trees: Trees,
    dimension: usize,
    scale: f64,
    bias: Vec<f64>,
}

#[derive(Debug)]
enum Trees {
    Symmetric(Symmetric),
    Other { splits: Vec<Split>, steps: Vec<Step>, roots: Vec<usize>, leaves: Vec<f64> },
}

impl Model {
    pub(super) fn new(mut parts: Parts) -> Read<Self> {
        parts.floats.sort_by_key(|float| float.index);
        let (kinds, names) = features(&parts)?;
        let (splits, bytes_a_row) = splits(&parts)?;
        let dimension = parts.dimension;
        if dimension == 0 || dimension > MOST_SCORES {
            return Err(READER.corrupt(format!("it has {dimension} scores; 1 to {MOST_SCORES} are taken")));
        }
        let bias = match parts.bias.as_slice() {
            [] => vec![0.0; dimension],
            &[bias] => vec![bias; dimension],
            bias if bias.len() == dimension => bias.to_vec(),
            bias => return Err(READER.corrupt(format!("{} biases of {dimension} scores", bias.len()))),
        };
        let trees = match parts.plan {
            Plan::Symmetric(trees) => Trees::Symmetric(Symmetric::new(&trees, &splits, parts.leaves, dimension)?),
            Plan::Other(steps, roots) => other(splits, steps, roots, parts.leaves, dimension)?,
        };
        let indices: HashMap<&Key, usize> = parts.tables.keys().enumerate().map(|(index, key)| (key, index)).collect();
        let mut ctrs = Vec::with_capacity(parts.ctrs.len());
        for feature in &parts.ctrs {
            let table = *indices.get(&feature.key).ok_or_else(|| READER.corrupt("a CTR has no table"))?;
            check(&feature.key, &parts.floats, &parts.categories)?;
            ctrs.push((feature.clone(), table));
        }
        for ((_, kind), table) in &parts.tables {
            table.check(*kind)?;
        }
        let tables = parts.tables.into_values().collect();
        let Parts { floats, categories, one_hot, scale, .. } = parts;
        Ok(Self { kinds, names, floats, categories, one_hot, ctrs, tables, bytes_a_row, trees, dimension, scale, bias })
    }

    /// The kinds of features, in their order.
    pub(crate) fn features(&self) -> Vec<Kind> {
        self.kinds.clone()
    }

    /// The names of features, in their order; none where they are but numbered.
    pub(crate) fn names(&self) -> Vec<String> {
        let numbered = |(index, name): (usize, &String)| name.is_empty() || *name == index.to_string();
        if self.names.iter().enumerate().all(numbered) { Vec::new() } else { self.names.clone() }
    }

    /// Scores of a row.
    pub(crate) fn scores(&self) -> usize {
        self.dimension
    }

    /// Bytes held, an estimate.
    pub(crate) fn bytes(&self) -> usize {
        let trees = match &self.trees {
            Trees::Symmetric(trees) => trees.bytes(),
            Trees::Other { splits, steps, roots, leaves } => {
                size_of_val(splits.as_slice())
                    + size_of_val(steps.as_slice())
                    + size_of_val(roots.as_slice())
                    + size_of_val(leaves.as_slice())
            }
        };
        trees + self.tables.iter().map(Table::bytes).sum::<usize>()
    }

    /// The scores of rows. `numbers` and `texts` are as wide as the features say.
    pub(crate) fn sum(&self, count: usize, numbers: &[f32], texts: &[&[u8]]) -> Vec<f64> {
        let width = self.floats.len();
        let hashes: Vec<u32> = texts.iter().map(|text| city::category(text)).collect();
        let mut sums = vec![0.0; count * self.dimension];
        let mut bins = vec![0; self.bytes_a_row * BLOCK.min(count)];
        for (block, sums) in sums.chunks_mut(BLOCK * self.dimension).enumerate() {
            let rows = sums.len() / self.dimension;
            let first = block * BLOCK;
            let block = Block {
                rows,
                numbers: &numbers[first * width..(first + rows) * width],
                hashes: &hashes[first * self.categories.len()..(first + rows) * self.categories.len()],
            };
            let bins = &mut bins[..self.bytes_a_row * rows];
            self.binarize(&block, bins);
            match &self.trees {
                Trees::Symmetric(trees) => trees.sum(bins, rows, sums),
                Trees::Other { splits, steps, roots, leaves } => {
                    traverse(bins, rows, self.dimension, (splits, steps, roots, leaves), sums);
                }
            }
        }
        if self.scale.to_bits() != 1.0_f64.to_bits() || self.bias.iter().any(|&bias| bias != 0.0) {
            for row in sums.chunks_mut(self.dimension) {
                for (sum, bias) in row.iter_mut().zip(&self.bias) {
                    *sum = self.scale * *sum + bias;
                }
            }
        }
        sums
    }

    /// The bytes of rows, a feature's behind one another.
    fn binarize(&self, block: &Block<'_>, bins: &mut [u8]) {
        let rows = block.rows;
        let mut planes = bins.chunks_mut(rows);
        let mut column = [0.0; BLOCK];
        for (index, float) in self.floats.iter().enumerate() {
            if float.borders.is_empty() {
                continue;
            }
            let column = &mut column[..rows];
            for (row, value) in column.iter_mut().enumerate() {
                *value = float.seen(block.numbers[row * self.floats.len() + index]);
            }
            above(column, &float.borders, &mut planes);
        }
        for &index in &self.one_hot {
            for values in self.categories[index].values.chunks(PER_BYTE) {
                let Some(plane) = planes.next() else { return };
                for (row, bin) in plane.iter_mut().enumerate() {
                    let hash = block.hashes[row * self.categories.len() + index].cast_signed();
                    *bin = values.iter().position(|&value| value == hash).map_or(0, |index| index as u8 + 1);
                }
            }
        }
        let mut hashed: Option<(&ctr::Projection, [u64; BLOCK])> = None;
        for (feature, table) in &self.ctrs {
            let projection = &feature.key.0;
            // Features of one projection follow one another.
            let hashes = match &hashed {
                Some((known, hashes)) if *known == projection => hashes,
                _ => {
                    let mut hashes = [0; BLOCK];
                    for (row, hash) in hashes.iter_mut().enumerate().take(rows) {
                        *hash = self.hash(projection, block, row);
                    }
                    &hashed.insert((projection, hashes)).1
                }
            };
            let column = &mut column[..rows];
            for (value, &hash) in column.iter_mut().zip(hashes) {
                *value = feature.statistic(&self.tables[*table], hash);
            }
            above(column, &feature.borders, &mut planes);
        }
    }

    fn hash(&self, projection: &ctr::Projection, block: &Block<'_>, row: usize) -> u64 {
        let hash_of = |category: usize| block.hashes[row * self.categories.len() + category];
        let mut hash = 0;
        for &category in &projection.categories {
            hash = ctr::chained(hash, ctr::signed(hash_of(category)));
        }
        for &(float, border) in &projection.numbers {
            let value = self.floats[float].seen(block.numbers[row * self.floats.len() + float]);
            hash = ctr::chained(hash, u64::from(value > f32::from_bits(border)));
        }
        for &(category, value) in &projection.values {
            hash = ctr::chained(hash, u64::from(hash_of(category).cast_signed() == value));
        }
        hash
    }
}

/// Rows that are scored at once.
struct Block<'a> {
    rows: usize,
    numbers: &'a [f32],
    hashes: &'a [u32],
}

impl Float {
    /// A value, or what it counts as where it is missing.
    #[inline]
    fn seen(&self, value: f32) -> f32 {
        match self.missing {
            Some(missing) if value.is_nan() => missing,
            _ => value,
        }
    }
}

/// Counts the borders that each value is above, as many a plane as a byte can count.
fn above<'p>(column: &[f32], borders: &[f32], planes: &mut impl Iterator<Item = &'p mut [u8]>) {
    for borders in borders.chunks(PER_BYTE) {
        let Some(plane) = planes.next() else { return };
        if column.len() >= 16 {
            count_above(column, borders, plane);
        } else {
            for (bin, &value) in plane.iter_mut().zip(column) {
                // A NaN is above nothing.
                *bin = borders.partition_point(|&border| value > border) as u8;
            }
        }
    }
}

#[multiversion::multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+fma",
    "x86_64+avx2+fma"
))]
fn count_above(column: &[f32], borders: &[f32], plane: &mut [u8]) {
    plane.fill(0);
    let (columns, rest) = column.as_chunks::<16>();
    let (planes, plane_rest) = plane.as_chunks_mut::<16>();
    for (column, plane) in columns.iter().zip(planes) {
        let mut counts = [0u32; 16];
        for &border in borders {
            for (count, &value) in counts.iter_mut().zip(column) {
                *count += u32::from(value > border);
            }
        }
        for (bin, count) in plane.iter_mut().zip(counts) {
            *bin = count as u8;
        }
    }
    for (bin, &value) in plane_rest.iter_mut().zip(rest) {
        *bin = borders.partition_point(|&border| value > border) as u8;
    }
}

/// The kinds and names of all features, which the file numbers without gaps.
fn features(parts: &Parts) -> Read<(Vec<Kind>, Vec<String>)> {
    let count = parts.floats.len() + parts.categories.len();
    if count > MOST_FEATURES {
        return Err(READER.corrupt(format!("it has {count} features")));
    }
    let floats = parts.floats.iter().map(|float| (float.flat, Kind::Number, &float.name, float.index));
    let categories =
        parts.categories.iter().map(|category| (category.flat, Kind::Category, &category.name, category.index));
    let mut all: Vec<_> = floats.chain(categories).collect();
    all.sort_by_key(|&(flat, ..)| flat);
    let mut next = [0, 0];
    for (position, &(flat, kind, _, index)) in all.iter().enumerate() {
        let next = &mut next[usize::from(kind == Kind::Category)];
        if flat != position || index != *next {
            return Err(READER.unsupported("features that are neither numbers nor categories, or are not told"));
        }
        *next += 1;
    }
    let sorted = |borders: &[f32]| borders.is_sorted() && !borders.iter().any(|border| border.is_nan());
    if !parts.floats.iter().all(|float| sorted(&float.borders)) || !parts.ctrs.iter().all(|ctr| sorted(&ctr.borders)) {
        return Err(READER.corrupt("borders are not in their order"));
    }
    Ok((all.iter().map(|&(_, kind, ..)| kind).collect(), all.iter().map(|(_, _, name, _)| (*name).clone()).collect()))
}

/// All splits by their numbers, and how many bytes a row has.
fn splits(parts: &Parts) -> Read<(Vec<Split>, usize)> {
    let mut splits = Vec::new();
    let mut planes = 0u32;
    let mut put = |count: usize, is_equal: bool| {
        for index in 0..count {
            let value = (index % PER_BYTE) as u8 + 1;
            let plane = planes + (index / PER_BYTE) as u32;
            splits.push(if is_equal {
                Split { plane, xor: !value, least: u8::MAX }
            } else {
                Split { plane, xor: 0, least: value }
            });
        }
        planes += count.div_ceil(PER_BYTE) as u32;
    };
    for float in &parts.floats {
        put(float.borders.len(), false);
    }
    for &index in &parts.one_hot {
        let category = parts.categories.get(index).ok_or_else(|| READER.corrupt("values of no feature"))?;
        put(category.values.len(), true);
    }
    for ctr in &parts.ctrs {
        put(ctr.borders.len(), false);
    }
    if planes > MOST_PLANES {
        return Err(READER.unsupported(format!("more than {MOST_PLANES} bytes a row")));
    }
    Ok((splits, planes as usize))
}

fn other(splits: Vec<Split>, steps: Vec<Step>, roots: Vec<usize>, leaves: Vec<f64>, dimension: usize) -> Read<Trees> {
    for (at, step) in steps.iter().enumerate() {
        let inside = [step.left, step.right].iter().all(|&child| child < steps.len() - at);
        let ends = step.left == 0 || step.right == 0;
        let leaf = step.leaf.checked_add(dimension).is_some_and(|end| end <= leaves.len());
        let is_branch = step.left != 0 || step.right != 0;
        if !inside || (ends && !leaf) || (is_branch && step.split >= splits.len()) {
            return Err(READER.corrupt(format!("node {at} leads to nothing")));
        }
    }
    if roots.iter().any(|&root| root >= steps.len()) {
        return Err(READER.corrupt("a tree has no root"));
    }
    Ok(Trees::Other { splits, steps, roots, leaves })
}

/// Trees of any shape, row by row.
fn traverse(
    bins: &[u8],
    rows: usize,
    dimension: usize,
    (splits, steps, roots, leaves): (&[Split], &[Step], &[usize], &[f64]),
    sums: &mut [f64],
) {
    for &root in roots {
        for (row, sums) in sums.chunks_mut(dimension).enumerate() {
            let mut at = root;
            loop {
                let step = steps[at];
                if step.left == 0 && step.right == 0 {
                    break;
                }
                let next = if splits[step.split].holds(bins, rows, row) { step.right } else { step.left };
                if next == 0 {
                    break;
                }
                at += next;
            }
            let leaf = steps[at].leaf;
            for (sum, value) in sums.iter_mut().zip(&leaves[leaf..leaf + dimension]) {
                *sum += value;
            }
        }
    }
}

/// Checks that a projection is of features that there are.
fn check((projection, _): &Key, floats: &[Float], categories: &[Category]) -> Read<()> {
    let fits = projection.categories.iter().all(|&category| category < categories.len())
        && projection.numbers.iter().all(|&(float, _)| float < floats.len())
        && projection.values.iter().all(|&(category, _)| category < categories.len());
    if fits { Ok(()) } else { Err(READER.corrupt("a CTR is of a feature that there is not")) }
}
