//! Columns by name: the next one in order is tried first, then a hash table, so that the order of a row's keys costs
//! nothing.

use std::hash::{BuildHasher, RandomState};

use modelgate_columns::Column;

use super::model_key::MODEL_KEY;

/// Marks a free slot.
const FREE: u32 = u32::MAX;

/// The columns that a bundle takes, with their index.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'s> {
    /// In the bundle's order.
    pub columns: &'s [Column],
    /// Made of the same columns.
    pub names: &'s NameIndex,
}

/// Finds a column's position by its name.
#[derive(Clone, Debug, Default)]
pub struct NameIndex {
    hasher: RandomState,
    /// Positions of columns, open addressing, at most half full; a power of two, or empty without columns.
    slots: Vec<u32>,
    /// The column that is called as the key that names a model.
    model: Option<usize>,
}

impl NameIndex {
    /// Of these columns. Where two have the same name, the first is found.
    pub fn new(columns: &[Column]) -> Self {
        let size = if columns.is_empty() { 0 } else { (columns.len() * 2).next_power_of_two() };
        let mut index = Self { hasher: RandomState::new(), slots: vec![FREE; size], model: None };
        for (position, column) in columns.iter().enumerate() {
            let mut slot = index.first_slot(&column.name);
            while index.slots[slot] != FREE {
                slot = (slot + 1) % size;
            }
            index.slots[slot] = u32::try_from(position).unwrap_or(FREE);
        }
        index.model = index.find(columns, MODEL_KEY, usize::MAX);
        index
    }

    /// The position of a column `model`.
    pub fn model_column(&self) -> Option<usize> {
        self.model
    }

    fn first_slot(&self, name: &str) -> usize {
        self.hasher.hash_one(name) as usize & (self.slots.len() - 1)
    }

    /// The position of the column of that name; the column at `guess` is tried first, since most clients keep the order.
    pub fn find(&self, columns: &[Column], name: &str, guess: usize) -> Option<usize> {
        self.search(columns, name, guess, &mut 0)
    }

    /// Counts the names that were compared.
    #[inline]
    fn search(&self, columns: &[Column], name: &str, guess: usize, compared: &mut usize) -> Option<usize> {
        let mut is = |position: usize| {
            *compared += 1;
            columns.get(position).is_some_and(|column| column.name == name)
        };
        if guess < columns.len() && is(guess) {
            return Some(guess);
        }
        if self.slots.is_empty() {
            return None;
        }
        let mut slot = self.first_slot(name);
        loop {
            let position = self.slots[slot];
            if position == FREE {
                return None;
            }
            if is(position as usize) {
                return Some(position as usize);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }
}

impl Inputs<'_> {
    /// The position of the column of that name; the column at `guess` is tried first.
    #[inline]
    pub fn find(&self, name: &str, guess: usize) -> Option<usize> {
        self.names.find(self.columns, name, guess)
    }
}

#[cfg(test)]
mod tests {
    use modelgate_columns::Datatype;

    use super::*;

    /// Names compared for one row with its keys in this order, each guessed to follow the one before.
    fn compared(columns: &[Column], order: impl Iterator<Item = usize>) -> usize {
        let (index, mut count, mut guess) = (NameIndex::new(columns), 0, 0);
        for position in order {
            assert_eq!(index.search(columns, &columns[position].name, guess, &mut count), Some(position));
            guess = position + 1;
        }
        count
    }

    #[test]
    fn the_order_of_keys_costs_nothing() {
        let columns: Vec<_> =
            (0..4_000).map(|number| Column::scalar(format!("feature_{number}"), Datatype::F64)).collect();
        assert_eq!(compared(&columns, 0..4_000), 4_000);
        // A multiplier prime to 4,000 visits each once, far from its neighbours.
        for order in [(0..4_000).rev().collect::<Vec<_>>(), (0..4_000).map(|n| n * 1_237 % 4_000).collect()] {
            let count = compared(&columns, order.into_iter());
            assert!(count < 4 * 4_000, "{count} names compared for 4,000 keys");
        }
        let (index, mut count) = (NameIndex::new(&columns), 0);
        assert_eq!(index.search(&columns, "none of them", 0, &mut count), None);
        assert!(count < 50, "{count} names compared for one that is unknown");
        assert_eq!(NameIndex::new(&[]).find(&[], "x", 0), None);
    }
}
