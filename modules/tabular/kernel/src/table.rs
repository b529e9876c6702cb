//! Categories to numbers: the place for `ordinal`, the place of the one-hot column for `one_hot`.

use crate::op::Unknown;

/// The number of a value that is no category; `None` if the value is refused.
#[derive(Clone, Copy, Debug)]
pub struct Otherwise {
    /// A value that is there but no category.
    pub unknown: Option<f64>,
    /// A missing value.
    pub missing: Option<f64>,
}

/// Categories that are numbers.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// Category and what it becomes, ascending.
    sorted: Vec<(f64, f64)>,
    otherwise: Otherwise,
}

impl Numbers {
    /// Fails with a category that comes twice.
    #[expect(clippy::float_cmp, reason = "categories are equal or not")]
    pub fn new(mut entries: Vec<(f64, f64)>, otherwise: Otherwise) -> Result<Self, String> {
        entries.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        match entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(format!("has the category {} twice", pair[0].0)),
            None => Ok(Self { sorted: entries, otherwise }),
        }
    }

    #[expect(clippy::float_cmp, reason = "categories are equal or not")]
    pub(crate) fn find(&self, value: f64) -> Result<f64, Unknown> {
        let place = self.sorted.partition_point(|(category, _)| *category < value);
        match self.sorted.get(place) {
            Some((category, becomes)) if *category == value => Ok(*becomes),
            _ if value.is_nan() => self.otherwise.missing.ok_or(Unknown),
            _ => self.otherwise.unknown.ok_or(Unknown),
        }
    }
}

/// Categories that are strings: a hash table with open addressing, half empty.
#[derive(Clone, Debug)]
pub struct Texts {
    /// Category and what it becomes.
    entries: Vec<(Box<[u8]>, f64)>,
    /// By hash: 1 + a place in `entries`, or 0 for none. A power of two long.
    slots: Vec<u32>,
    otherwise: Otherwise,
}

impl Texts {
    /// Fails with a category that comes twice.
    pub fn new(entries: Vec<(String, f64)>, otherwise: Otherwise) -> Result<Self, String> {
        let entries: Vec<(Box<[u8]>, f64)> =
            entries.into_iter().map(|(text, becomes)| (text.into_bytes().into_boxed_slice(), becomes)).collect();
        let mut slots = vec![0; (entries.len() * 2 + 1).next_power_of_two()];
        let mask = slots.len() - 1;
        for (place, (category, _)) in entries.iter().enumerate() {
            let mut slot = hash(category) & mask;
            while let Some(earlier) = place_of(slots[slot]) {
                if entries[earlier].0 == *category {
                    return Err(format!("has the category {:?} twice", String::from_utf8_lossy(category)));
                }
                slot = (slot + 1) & mask;
            }
            slots[slot] = place as u32 + 1;
        }
        Ok(Self { entries, slots, otherwise })
    }

    /// A missing string becomes what this one does.
    pub fn fill(&mut self, text: &str) {
        self.otherwise.missing = self.find(text.as_bytes()).ok();
    }

    pub(crate) fn find(&self, text: &[u8]) -> Result<f64, Unknown> {
        let mask = self.slots.len() - 1;
        let mut slot = hash(text) & mask;
        while let Some(place) = place_of(self.slots[slot]) {
            let (category, becomes) = &self.entries[place];
            if same(category, text) {
                return Ok(*becomes);
            }
            slot = (slot + 1) & mask;
        }
        self.otherwise.unknown.ok_or(Unknown)
    }

    pub(crate) fn missing(&self) -> Result<f64, Unknown> {
        self.otherwise.missing.ok_or(Unknown)
    }
}

fn place_of(slot: u32) -> Option<usize> {
    (slot as usize).checked_sub(1)
}

/// Eight bytes at a time, after rustc's own hash. The table is fixed and half empty, so an attacker gains nothing.
fn hash(text: &[u8]) -> usize {
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
    let (words, rest) = text.as_chunks::<8>();
    let mut hash = text.len() as u64;
    for word in words {
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
    }
    let mut last = 0;
    for byte in rest {
        last = last << 8 | u64::from(*byte);
    }
    hash = (hash.rotate_left(5) ^ last).wrapping_mul(FACTOR);
    (hash >> 32) as usize
}

/// A loop, not `memcmp`: that is a call, and slower for the short names that categories have.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b)
}
