//! Packing columns into words.

use bytemuck::Pod;

use crate::LayoutError;

/// Packs columns one after the other, in the signature's order.
///
/// For each column: [`dims`](Self::dims) if its shape varies, [`validity`](Self::validity) if it is nullable, then one
/// of [`fixed`](Self::fixed), [`fixed_with`](Self::fixed_with) and [`strings`](Self::strings).
#[derive(Debug, Default)]
pub struct Writer {
    words: Vec<u64>,
}

impl Writer {
    /// With room for that many words.
    pub fn with_capacity(words: usize) -> Self {
        Self { words: Vec::with_capacity(words) }
    }

    /// The sizes of the inner dimensions that vary.
    pub fn dims(&mut self, dims: &[u64]) {
        self.words.extend_from_slice(dims);
    }

    /// One byte for each value: 1 present, 0 missing.
    pub fn validity(&mut self, validity: &[u8]) {
        self.fixed(validity);
    }

    /// Values of a fixed size.
    pub fn fixed<T: Pod>(&mut self, values: &[T]) {
        let bytes = bytemuck::cast_slice::<T, u8>(values);
        let start = self.words.len();
        self.words.resize(start + bytes.len().div_ceil(8), 0);
        bytemuck::cast_slice_mut::<u64, u8>(&mut self.words[start..])[..bytes.len()].copy_from_slice(bytes);
    }

    /// Room for `count` values of a fixed size, zeros at first, to be filled in place. `T` must be a number of 1, 2, 4
    /// or 8 bytes.
    pub fn fixed_with<T: Pod>(&mut self, count: usize) -> &mut [T] {
        let start = self.words.len();
        let bytes = count * size_of::<T>();
        self.words.resize(start + bytes.div_ceil(8), 0);
        &mut bytemuck::cast_slice_mut::<u64, T>(&mut self.words[start..])[..count]
    }

    /// Byte strings; together less than 4 GiB.
    pub fn strings<'s>(&mut self, values: impl ExactSizeIterator<Item = &'s [u8]> + Clone) -> Result<(), LayoutError> {
        let mut end = 0u32;
        let offsets = self.fixed_with::<u32>(values.len() + 1);
        for (value, offset) in values.clone().zip(&mut offsets[1..]) {
            end = u32::try_from(value.len())
                .ok()
                .and_then(|len| end.checked_add(len))
                .ok_or_else(|| LayoutError::new("", "the strings of a column exceed 4 GiB"))?;
            *offset = end;
        }
        let bytes = self.fixed_with::<u8>(end as usize);
        let mut at = 0;
        for value in values {
            bytes[at..at + value.len()].copy_from_slice(value);
            at += value.len();
        }
        Ok(())
    }

    /// The packed batch.
    pub fn finish(self) -> Vec<u64> {
        self.words
    }
}
