//! Tables of FlatBuffers, each access checked.

use std::cell::Cell;

use super::READER;
use crate::error::Read;

/// Bytes that may be read for each byte of a buffer: its tables may share parts, but not so that little stands for much.
const SHARING: usize = 64;

/// The bytes that may still be read.
#[derive(Debug)]
pub(super) struct Budget(Cell<usize>);

impl Budget {
    pub(super) fn new(buffer: &[u8]) -> Self {
        Self(Cell::new(buffer.len().saturating_mul(SHARING)))
    }

    fn spend(&self, bytes: usize) -> Read<()> {
        let left = self.0.get().checked_sub(bytes);
        self.0.set(left.ok_or_else(|| READER.corrupt("its tables share more than they have"))?);
        Ok(())
    }
}

/// A table in a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    buffer: &'a [u8],
    budget: &'a Budget,
    at: usize,
}

fn bytes<const N: usize>(buffer: &[u8], at: usize) -> Option<[u8; N]> {
    buffer.get(at..).and_then(<[u8]>::first_chunk).copied()
}

fn wrong() -> crate::error::BoosterError {
    READER.corrupt("an offset points outside of its file")
}

impl<'a> Table<'a> {
    /// The root of a buffer.
    pub(super) fn root(buffer: &'a [u8], budget: &'a Budget) -> Read<Self> {
        let at = bytes(buffer, 0).map(u32::from_le_bytes).ok_or_else(wrong)?;
        Ok(Self { buffer, budget, at: at as usize })
    }

    /// Where a field is; `None` if it has its default.
    fn field(&self, number: usize) -> Read<Option<usize>> {
        let back = bytes(self.buffer, self.at).map(i32::from_le_bytes).ok_or_else(wrong)?;
        let vtable = i64::try_from(self.at).ok().and_then(|at| usize::try_from(at - i64::from(back)).ok());
        let vtable = vtable.ok_or_else(wrong)?;
        let size = bytes(self.buffer, vtable).map(u16::from_le_bytes).ok_or_else(wrong)?;
        let index = 4 + 2 * number;
        if index + 2 > size as usize {
            return Ok(None);
        }
        let offset = bytes(self.buffer, vtable + index).map(u16::from_le_bytes).ok_or_else(wrong)?;
        Ok((offset != 0).then_some(self.at + offset as usize))
    }

    fn fixed<const N: usize>(&self, number: usize) -> Read<Option<[u8; N]>> {
        self.field(number)?.map(|at| bytes(self.buffer, at).ok_or_else(wrong)).transpose()
    }

    pub(super) fn byte(&self, number: usize) -> Read<i8> {
        Ok(self.fixed(number)?.map_or(0, i8::from_le_bytes))
    }

    pub(super) fn integer(&self, number: usize, default: i32) -> Read<i32> {
        Ok(self.fixed(number)?.map_or(default, i32::from_le_bytes))
    }

    pub(super) fn single(&self, number: usize, default: f32) -> Read<f32> {
        Ok(self.fixed(number)?.map_or(default, f32::from_le_bytes))
    }

    pub(super) fn double(&self, number: usize, default: f64) -> Read<f64> {
        Ok(self.fixed(number)?.map_or(default, f64::from_le_bytes))
    }

    /// Follows the offset at a place.
    fn follow(&self, at: usize) -> Read<usize> {
        let offset = bytes(self.buffer, at).map(u32::from_le_bytes).ok_or_else(wrong)?;
        at.checked_add(offset as usize).ok_or_else(wrong)
    }

    pub(super) fn table(&self, number: usize) -> Read<Option<Self>> {
        self.field(number)?.map(|at| Ok(Self { at: self.follow(at)?, ..*self })).transpose()
    }

    /// The bytes of a list of items of a size, and where they are; nothing where the field is missing.
    fn list(&self, number: usize, size: usize) -> Read<(usize, &'a [u8])> {
        let Some(at) = self.field(number)? else { return Ok((0, &[])) };
        let at = self.follow(at)?;
        let count = bytes(self.buffer, at).map(u32::from_le_bytes).ok_or_else(wrong)?;
        let start = at + 4;
        let end = (count as usize).checked_mul(size).and_then(|length| start.checked_add(length)).ok_or_else(wrong)?;
        self.budget.spend(end - start)?;
        Ok((start, self.buffer.get(start..end).ok_or_else(wrong)?))
    }

    pub(super) fn items<const N: usize>(&self, number: usize) -> Read<&'a [[u8; N]]> {
        Ok(self.list(number, N)?.1.as_chunks().0)
    }

    pub(super) fn integers(&self, number: usize) -> Read<Vec<i32>> {
        Ok(self.items(number)?.iter().copied().map(i32::from_le_bytes).collect())
    }

    pub(super) fn singles(&self, number: usize) -> Read<Vec<f32>> {
        Ok(self.items(number)?.iter().copied().map(f32::from_le_bytes).collect())
    }

    pub(super) fn doubles(&self, number: usize) -> Read<Vec<f64>> {
        Ok(self.items(number)?.iter().copied().map(f64::from_le_bytes).collect())
    }

    pub(super) fn text(&self, number: usize) -> Read<&'a str> {
        std::str::from_utf8(self.list(number, 1)?.1).map_err(|_| READER.corrupt("a text is not UTF-8"))
    }

    fn offsets(&self, number: usize) -> Read<Vec<usize>> {
        let (start, list) = self.list(number, 4)?;
        (0..list.len() / 4).map(|index| self.follow(start + 4 * index)).collect()
    }

    pub(super) fn tables(&self, number: usize) -> Read<Vec<Self>> {
        Ok(self.offsets(number)?.into_iter().map(|at| Self { at, ..*self }).collect())
    }

    pub(super) fn texts(&self, number: usize) -> Read<Vec<&'a str>> {
        let text = |at: usize| {
            let count = bytes(self.buffer, at).map(u32::from_le_bytes).ok_or_else(wrong)? as usize;
            let end = (at + 4).checked_add(count).ok_or_else(wrong)?;
            self.budget.spend(count)?;
            let bytes = self.buffer.get(at + 4..end).ok_or_else(wrong)?;
            std::str::from_utf8(bytes).map_err(|_| READER.corrupt("a text is not UTF-8"))
        };
        self.offsets(number)?.into_iter().map(text).collect()
    }
}
