//! Bytes as they came from a socket: pieces in order, copied only where they are put to use.

use std::{borrow::Cow, ops::Range};

use bytes::{Bytes, BytesMut};

/// Pieces below this are put together. Each would keep the whole buffer that it was read into, and a body sent byte by
/// byte would cost a list entry for each byte. Copying them is cheaper.
const SMALL: usize = 4 << 10;

/// Pieces of one text.
#[derive(Clone, Debug, Default)]
pub struct ChunkedBytes {
    pieces: Vec<Bytes>,
    /// Small pieces not yet put into the list.
    tail: BytesMut,
    len: usize,
    copied: usize,
}

impl ChunkedBytes {
    /// A text of one piece, which is not copied.
    pub fn whole(piece: Bytes) -> Self {
        let len = piece.len();
        Self { pieces: if len > 0 { vec![piece] } else { Vec::new() }, len, ..Self::default() }
    }

    /// Appends a piece, of which others follow or come before.
    pub fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() < SMALL {
            self.copied += piece.len();
            self.tail.extend_from_slice(&piece);
        } else {
            self.seal();
            self.pieces.push(piece);
        }
    }

    /// Ends what was begun to put small pieces together, so that parts can be taken without copying.
    pub fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(self.tail.split().freeze());
        }
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that were copied to put small pieces together.
    pub fn copied(&self) -> usize {
        self.copied
    }

    /// A part, without copying; what lies past the end is left out.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let mut part = Self::default();
        let mut start = 0;
        for piece in self.all() {
            let end = start + piece.len();
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                part.len += to - from;
                part.pieces.push(piece.slice(from - start..to - start));
            }
            start = end;
        }
        part
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let tail: &[u8] = &self.tail;
        self.pieces.iter().map(Bytes::as_ref).chain((!tail.is_empty()).then_some(tail))
    }

    fn all(&self) -> impl Iterator<Item = Bytes> {
        let tail = (!self.tail.is_empty()).then(|| Bytes::copy_from_slice(&self.tail));
        self.pieces.iter().cloned().chain(tail)
    }

    /// In one piece; borrowed where it is one already.
    pub fn joined(&self) -> Cow<'_, [u8]> {
        let mut pieces = self.pieces();
        match (pieces.next(), pieces.next()) {
            (None, _) => Cow::Borrowed(&[]),
            (Some(only), None) => Cow::Borrowed(only),
            (Some(_), Some(_)) => {
                let mut whole = Vec::with_capacity(self.len);
                self.pieces().for_each(|piece| whole.extend_from_slice(piece));
                Cow::Owned(whole)
            }
        }
    }

    /// In one piece, which is copied only where there are several.
    pub fn into_bytes(mut self) -> Bytes {
        self.seal();
        match self.pieces.len() {
            0 => Bytes::new(),
            1 => self.pieces.swap_remove(0),
            _ => self.joined().into_owned().into(),
        }
    }
}

impl From<Bytes> for ChunkedBytes {
    fn from(bytes: Bytes) -> Self {
        Self::whole(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked(pieces: &[usize]) -> (ChunkedBytes, Vec<u8>) {
        let mut bytes = ChunkedBytes::default();
        let mut whole = Vec::new();
        for (index, &size) in pieces.iter().enumerate() {
            let piece: Vec<u8> = (0..size).map(|byte| (byte + index) as u8).collect();
            whole.extend_from_slice(&piece);
            bytes.push(piece.into());
        }
        (bytes, whole)
    }

    #[test]
    fn parts_and_wholes_are_what_was_pushed() {
        for pieces in [&[][..], &[5], &[5, 7, 9], &[5000, 3, 6000, 1, 2], &[1, 8000, 4]] {
            let (bytes, whole) = chunked(pieces);
            assert_eq!(bytes.len(), whole.len());
            assert_eq!(bytes.joined(), whole);
            for (from, to) in [(0, whole.len()), (3, 6), (4, 5002), (whole.len() / 2, whole.len() + 9), (9, 9)] {
                let expected = whole.get(from.min(whole.len())..to.min(whole.len())).unwrap_or_default();
                let part = bytes.slice(from..to);
                assert_eq!((part.joined().as_ref(), part.len()), (expected, expected.len()), "{pieces:?} {from}..{to}");
            }
            assert_eq!(bytes.into_bytes(), whole);
        }
    }

    #[test]
    fn only_small_pieces_of_several_are_copied() {
        assert_eq!(ChunkedBytes::from(Bytes::from_static(b"whole")).copied(), 0);
        assert_eq!(chunked(&[5000, 100, 7, 5000]).0.copied(), 107);
        let (bytes, whole) = chunked(&vec![1; 10_000]);
        assert_eq!((bytes.pieces().count(), whole.len()), (1, 10_000));
    }
}
