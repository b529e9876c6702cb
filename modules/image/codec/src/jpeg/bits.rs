//! The bits of a scan: bytes without the zeros that are stuffed behind 0xff, up to the next marker.

/// A reader of bits, the highest first.
#[derive(Debug)]
pub(super) struct Bits<'a> {
    data: &'a [u8],
    place: usize,
    /// The next bits, from the highest on.
    window: u64,
    /// The number of bits in the window that count.
    count: u32,
    /// Of these, the last so many are no data but zeros behind its end.
    missing: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8], place: usize) -> Self {
        Self { data, place, window: 0, count: 0, missing: 0 }
    }

    /// Makes 32 bits available at least: enough for a code and the number behind it. Behind the end of the data they are 0.
    #[inline]
    pub(super) fn fill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(next) = self.data.get(self.place..).and_then(|rest| rest.first_chunk::<8>()) {
            let next = u64::from_be_bytes(*next);
            // A byte of `!next` is 0 where one of `next` is 0xff.
            let zeros = (!next).wrapping_sub(0x0101_0101_0101_0101) & next & 0x8080_8080_8080_8080;
            if zeros == 0 && self.missing == 0 {
                self.window |= next >> self.count;
                // The bits of a last byte that is not whole come again, and are the same.
                self.place += (63 - self.count as usize) >> 3;
                self.count |= 0b11_1000;
                return;
            }
        }
        self.fill_slowly();
    }

    #[cold]
    fn fill_slowly(&mut self) {
        // Bits below the count belong to a byte that is read again.
        self.window &= !(u64::MAX >> self.count);
        while self.count <= 56 {
            let byte = match (self.data.get(self.place), self.data.get(self.place + 1)) {
                (Some(0xff), Some(0)) => {
                    self.place += 2;
                    0xff
                }
                (Some(0xff) | None, _) => {
                    self.missing += 8;
                    0
                }
                (Some(byte), _) => {
                    self.place += 1;
                    *byte
                }
            };
            self.window |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next bits, 1 to 32 of them, which are there after [`fill`](Self::fill).
    #[inline]
    pub(super) fn peek(&self, count: u32) -> u32 {
        (self.window >> (64 - count)) as u32
    }

    #[inline]
    pub(super) fn skip(&mut self, count: u32) {
        self.window <<= count;
        self.count = self.count.saturating_sub(count);
    }

    /// The next bits as a number; 16 at most, which may be none.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> i32 {
        if count == 0 {
            return 0;
        }
        let value = self.peek(count).cast_signed();
        self.skip(count);
        value
    }

    /// The next bits as a number with a sign: the lower half of the numbers of so many bits stands for negative ones.
    #[inline]
    pub(super) fn signed(&mut self, count: u32) -> i32 {
        let value = self.take(count);
        if count > 0 && value < 1 << (count - 1) { value - (1 << count) + 1 } else { value }
    }

    /// Whether more bits were taken than there are.
    #[inline]
    pub(super) fn is_beyond(&self) -> bool {
        self.missing > self.count
    }

    /// The place of the next marker: behind what was read of the data.
    pub(super) fn marker(&self) -> usize {
        let rest = self.data.get(self.place..).unwrap_or_default();
        let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff);
        self.place + rest.windows(2).position(is_marker).unwrap_or(rest.len())
    }

    /// Goes on behind a marker that tells decoders to start anew; false if the next one is another.
    pub(super) fn restart(&mut self) -> bool {
        let marker = self.marker();
        let is_restart = matches!(self.data.get(marker + 1), Some(0xd0..=0xd7));
        if is_restart {
            *self = Self::new(self.data, marker + 2);
        }
        is_restart
    }
}
