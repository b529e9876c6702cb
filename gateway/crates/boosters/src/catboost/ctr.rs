//! Statistics of categories that CatBoost counted while it trained (CTRs).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::READER;
use crate::error::Read;

/// The kind of a statistic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Type {
    Borders,
    Buckets,
    BinarizedTargetMeanValue,
    FloatTargetMeanValue,
    Counter,
    FeatureFreq,
}

impl Type {
    const ALL: [(&'static str, Self); 6] = [
        ("Borders", Self::Borders),
        ("Buckets", Self::Buckets),
        ("BinarizedTargetMeanValue", Self::BinarizedTargetMeanValue),
        ("FloatTargetMeanValue", Self::FloatTargetMeanValue),
        ("Counter", Self::Counter),
        ("FeatureFreq", Self::FeatureFreq),
    ];

    pub(super) fn named(name: &str) -> Read<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name).map(|&(_, kind)| kind);
        found.ok_or_else(|| READER.unsupported(format!("a CTR of the type '{name}'")))
    }

    pub(super) fn numbered(number: i8) -> Read<Self> {
        let found = usize::try_from(number).ok().and_then(|number| Self::ALL.get(number)).map(|&(_, kind)| kind);
        found.ok_or_else(|| READER.unsupported(format!("a CTR of the type {number}")))
    }

    pub(super) fn is_mean(self) -> bool {
        matches!(self, Self::BinarizedTargetMeanValue | Self::FloatTargetMeanValue)
    }

    pub(super) fn is_counter(self) -> bool {
        matches!(self, Self::Counter | Self::FeatureFreq)
    }
}

/// The features that are taken together, as the file numbers them among their kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Projection {
    pub(super) categories: Vec<usize>,
    /// (feature, the bits of the border that its value has to be above).
    pub(super) numbers: Vec<(usize, u32)>,
    /// (feature, the hash that its value has to have).
    pub(super) values: Vec<(usize, i32)>,
}

/// The key of a table.
pub(super) type Key = (Projection, Type);

/// A statistic that is a feature.
#[derive(Clone, Debug)]
pub(super) struct Feature {
    pub(super) key: Key,
    pub(super) target_border: usize,
    pub(super) prior: [f32; 2],
    pub(super) shift: f32,
    pub(super) scale: f32,
    pub(super) borders: Vec<f32>,
}

impl Feature {
    fn value(&self, counted: f32, total: f32) -> f32 {
        let ratio = (counted + self.prior[0]) / (total + self.prior[1]);
        (ratio + self.shift) * self.scale
    }

    /// The statistic of a row whose features have this hash.
    pub(super) fn statistic(&self, table: &Table, hash: u64) -> f32 {
        let index = table.indices.get(&hash).map(|&index| index as usize);
        let kind = self.key.1;
        if kind.is_counter() {
            let count = index.and_then(|index| table.counts.get(index)).copied().unwrap_or(0);
            return self.value(count as f32, table.denominator as f32);
        }
        let Some(index) = index else { return self.value(0.0, 0.0) };
        if kind.is_mean() {
            let (sum, count) = table.means.get(index).copied().unwrap_or_default();
            return self.value(sum, count as f32);
        }
        let size = table.classes;
        let counts =
            index.checked_mul(size).and_then(|start| table.counts.get(start..start + size)).unwrap_or_default();
        let total: i32 = counts.iter().fold(0, |sum, &count| sum.wrapping_add(count));
        let counted = match kind {
            Type::Buckets => counts.get(self.target_border).copied().unwrap_or(0),
            _ if size > 2 => {
                let above = counts.get(self.target_border + 1..).unwrap_or_default();
                above.iter().fold(0, |sum: i32, &count| sum.wrapping_add(count))
            }
            _ => counts.get(1).copied().unwrap_or(0),
        };
        self.value(counted as f32, total as f32)
    }
}

/// Counts by the hash of the features' values.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) indices: HashMap<u64, u32, BuildHasherDefault<Mixed>>,
    /// `classes` for each place, or one of a counter.
    pub(super) counts: Vec<i32>,
    /// (sum, count) for each place.
    pub(super) means: Vec<(f32, i32)>,
    pub(super) denominator: i32,
    pub(super) classes: usize,
}

impl Table {
    /// Notes where the counts of a hash are; the first one counts. The hash of all ones stands for none.
    pub(super) fn put(&mut self, hash: u64, index: u32) {
        if hash != u64::MAX {
            self.indices.entry(hash).or_insert(index);
        }
    }

    /// Checks that each place has its counts.
    pub(super) fn check(&self, kind: Type) -> Read<()> {
        let held = if kind.is_mean() {
            self.means.len()
        } else if kind.is_counter() {
            self.counts.len()
        } else {
            self.counts.len().checked_div(self.classes).unwrap_or(0)
        };
        let fits = self.indices.values().all(|&index| (index as usize) < held);
        if fits { Ok(()) } else { Err(READER.corrupt("a CTR has fewer counts than categories")) }
    }

    /// Bytes held, an estimate.
    pub(super) fn bytes(&self) -> usize {
        self.indices.len() * 16 + size_of_val(self.counts.as_slice()) + size_of_val(self.means.as_slice())
    }
}

/// The hash of features' values, one after another.
pub(super) fn chained(hash: u64, value: u64) -> u64 {
    const FACTOR: u64 = 0x4906_ba49_4954_cb65;
    FACTOR.wrapping_mul(hash.wrapping_add(FACTOR.wrapping_mul(value)))
}

/// The value of a category in a chain: its hash with the sign of an `i32`.
pub(super) fn signed(hash: u32) -> u64 {
    i64::from(hash.cast_signed()).cast_unsigned()
}

/// A hasher of what is a hash already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
