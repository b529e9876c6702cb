//! `.cbm` files: a FlatBuffers table, then tables of CTRs.

use std::collections::BTreeMap;

use super::about::About;
use super::ctr::{self, Key, Projection, Table, Type};
use super::flat;
use super::model::{Category, Float, Model, Parts, Plan, Step};
use super::{MAGIC, READER};
use crate::document;
use crate::error::Read;

/// The format of the table.
const FORMAT: &str = "FlabuffersModel_v1";

/// The name of the part with CTRs.
const CTR_PART: &str = "static_provider_v1";

/// The bytes of a file that are not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| READER.corrupt("the file ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| READER.corrupt("the file ends too early"))
    }

    /// A size of four bytes, or of eight more where those are all ones.
    fn size(&mut self) -> Read<usize> {
        let size = match u32::from_le_bytes(self.fixed()?) {
            u32::MAX => u64::from_le_bytes(self.fixed()?),
            size => u64::from(size),
        };
        usize::try_from(size).map_err(|_| READER.corrupt("a size is too large"))
    }
}

/// Reads a model.
pub(crate) fn from_cbm(bytes: &[u8]) -> Read<(Model, About)> {
    let mut rest = Rest(bytes.strip_prefix(MAGIC).ok_or_else(|| READER.corrupt("it does not begin with CBM1"))?);
    let size = rest.size()?;
    let buffer = rest.take(size)?;
    let budget = flat::Budget::new(buffer);
    let core = flat::Table::root(buffer, &budget)?;
    if core.text(0)? != FORMAT {
        return Err(READER.unsupported(format!("the format '{}'", core.text(0)?)));
    }
    let mut tables = BTreeMap::new();
    for part in core.texts(3)? {
        if part != CTR_PART {
            return Err(READER.unsupported(format!("a part '{part}'")));
        }
        let count = rest.size()?;
        for _ in 0..count {
            let size = rest.size()?;
            let buffer = rest.take(size)?;
            let budget = flat::Budget::new(buffer);
            let (key, table) = table(&flat::Table::root(buffer, &budget)?)?;
            tables.insert(key, table);
        }
    }
    let trees = core.table(1)?.ok_or_else(|| READER.corrupt("it has no trees"))?;
    let model = Model::new(parts(&trees, tables)?)?;
    let mut info = BTreeMap::new();
    for entry in core.tables(2)? {
        info.insert(entry.text(0)?, entry.text(1)?);
    }
    let json = |key: &str| {
        info.get(key).filter(|text| !text.is_empty()).map(|text| document::from_json(READER, text.as_bytes()))
    };
    let (params, class_params) = (json("params").transpose()?, json("class_params").transpose()?);
    let threshold = info.get("binclass_probability_threshold").and_then(|text| text.parse().ok());
    let version = info.get("catboost_version_info").copied();
    let about = About::new(params.as_ref(), class_params.as_ref(), threshold, version, model.scores())?;
    let names = model.names();
    Ok((model, About { names, ..about }))
}

fn count(number: i32) -> Read<usize> {
    usize::try_from(number).map_err(|_| READER.corrupt("a number is negative"))
}

fn counts(numbers: Vec<i32>) -> Read<Vec<usize>> {
    numbers.into_iter().map(count).collect()
}

fn parts(trees: &flat::Table<'_>, tables: BTreeMap<Key, Table>) -> Read<Parts> {
    for (field, what) in [(12, "texts as features"), (13, "estimated features"), (18, "embeddings as features")] {
        if !trees.tables(field)?.is_empty() {
            return Err(READER.unsupported(what));
        }
    }
    let floats = trees.tables(5)?.iter().map(float).collect::<Read<Vec<_>>>()?;
    let mut categories = trees.tables(4)?.iter().map(category).collect::<Read<Vec<_>>>()?;
    categories.sort_by_key(|category| category.index);
    let mut one_hot = Vec::new();
    for feature in trees.tables(6)? {
        let index = count(feature.integer(0, -1)?)?;
        let at = categories.iter().position(|category| category.index == index);
        let at = at.ok_or_else(|| READER.corrupt("values of no feature"))?;
        categories[at].values = feature.integers(1)?;
        one_hot.push(at);
    }
    let ctrs = trees.tables(7)?.iter().map(ctr_feature).collect::<Read<Vec<_>>>()?;
    let bias = trees.doubles(16)?;
    let bias = if bias.is_empty() { vec![trees.double(15, 0.0)?] } else { bias };
    Ok(Parts {
        floats,
        categories,
        one_hot,
        ctrs,
        tables,
        plan: plan(trees)?,
        leaves: trees.doubles(8)?,
        dimension: count(trees.integer(0, 0)?)?,
        scale: trees.double(14, 1.0)?,
        bias,
    })
}

fn plan(trees: &flat::Table<'_>) -> Read<Plan> {
    let splits = counts(trees.integers(1)?)?;
    let sizes = counts(trees.integers(2)?)?;
    let nodes: &[[u8; 4]] = trees.items(10)?;
    let mut left = splits.as_slice();
    let mut runs = Vec::with_capacity(sizes.len());
    let mut starts = Vec::with_capacity(sizes.len());
    for size in sizes {
        starts.push(splits.len() - left.len());
        let (run, others) = left.split_at_checked(size).ok_or_else(|| READER.corrupt("a tree has too few splits"))?;
        runs.push(run.to_vec());
        left = others;
    }
    if nodes.is_empty() {
        return Ok(Plan::Symmetric(runs));
    }
    let leaves = trees.integers(11)?;
    if nodes.len() != splits.len() || leaves.len() != splits.len() {
        return Err(READER.corrupt("its lists of nodes differ in length"));
    }
    let step = |((&[l0, l1, r0, r1], &split), &leaf): ((&[u8; 4], &usize), &i32)| Step {
        split,
        left: u16::from_le_bytes([l0, l1]).into(),
        right: u16::from_le_bytes([r0, r1]).into(),
        // Where there is no leaf, the number is all ones.
        leaf: leaf.cast_unsigned() as usize,
    };
    Ok(Plan::Other(nodes.iter().zip(&splits).zip(&leaves).map(step).collect(), starts))
}

fn float(table: &flat::Table<'_>) -> Read<Float> {
    let missing = match table.byte(5)? {
        _ if table.byte(0)? == 0 => None,
        0 => None,
        1 => Some(f32::NEG_INFINITY),
        2 => Some(f32::INFINITY),
        other => return Err(READER.unsupported(format!("missing values treated in way {other}"))),
    };
    Ok(Float {
        index: count(table.integer(1, -1)?)?,
        flat: count(table.integer(2, -1)?)?,
        borders: table.singles(3)?,
        missing,
        name: table.text(4)?.to_owned(),
    })
}

fn category(table: &flat::Table<'_>) -> Read<Category> {
    Ok(Category {
        index: count(table.integer(0, -1)?)?,
        flat: count(table.integer(1, -1)?)?,
        values: Vec::new(),
        name: table.text(2)?.to_owned(),
    })
}

fn halves(item: [u8; 8]) -> ([u8; 4], [u8; 4]) {
    match item.as_chunks().0 {
        [first, second] => (*first, *second),
        _ => ([0; 4], [0; 4]),
    }
}

fn key(table: &flat::Table<'_>) -> Read<Key> {
    let mut projection = Projection::default();
    if let Some(features) = table.table(0)? {
        projection.categories = counts(features.integers(0)?)?;
        for (feature, border) in features.items(1)?.iter().copied().map(halves) {
            projection.numbers.push((count(i32::from_le_bytes(feature))?, u32::from_le_bytes(border)));
        }
        for (feature, value) in features.items(2)?.iter().copied().map(halves) {
            projection.values.push((count(i32::from_le_bytes(feature))?, i32::from_le_bytes(value)));
        }
    }
    Ok((projection, Type::numbered(table.byte(1)?)?))
}

fn ctr_feature(table: &flat::Table<'_>) -> Read<ctr::Feature> {
    let ctr = table.table(0)?.ok_or_else(|| READER.corrupt("a CTR is not told"))?;
    Ok(ctr::Feature {
        key: key(&ctr.table(0)?.ok_or_else(|| READER.corrupt("a CTR is of nothing"))?)?,
        target_border: count(ctr.integer(1, 0)?)?,
        prior: [ctr.single(2, 0.0)?, ctr.single(3, 1.0)?],
        shift: ctr.single(4, 0.0)?,
        scale: ctr.single(5, 1.0)?,
        borders: table.singles(1)?,
    })
}

fn table(source: &flat::Table<'_>) -> Read<(Key, Table)> {
    let key = key(&source.table(0)?.ok_or_else(|| READER.corrupt("a CTR's table is of nothing"))?)?;
    let mut table =
        Table { denominator: source.integer(3, 0)?, classes: count(source.integer(4, 0)?)?, ..Table::default() };
    // A hash of eight bytes, then a place of four.
    for bucket in source.items::<1>(1)?.as_flattened().as_chunks::<12>().0 {
        let (Some(hash), Some(index)) = (bucket.first_chunk(), bucket.last_chunk()) else { continue };
        let index = u32::from_le_bytes(*index);
        if index != u32::MAX {
            table.put(u64::from_le_bytes(*hash), index);
        }
    }
    if key.1.is_mean() {
        let mean = |item: [u8; 8]| {
            let (sum, count) = halves(item);
            (f32::from_le_bytes(sum), i32::from_le_bytes(count))
        };
        table.means = source.items::<1>(2)?.as_flattened().as_chunks().0.iter().copied().map(mean).collect();
    } else {
        let counts = source.items::<1>(2)?.as_flattened().as_chunks().0;
        table.counts = counts.iter().copied().map(i32::from_le_bytes).collect();
    }
    Ok((key, table))
}
