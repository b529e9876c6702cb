//! Huffman codes.

use crate::{Refusal, jpeg::bits::Bits};

/// Bits that are looked up at once: nearly all codes are shorter.
const LOOK: u32 = 10;

/// Bits of the longest code.
const LONGEST: usize = 16;

/// The codes of one table.
#[derive(Clone, Debug)]
pub(super) struct Huffman {
    /// For each value of the next bits, the code's length and its symbol; 0 where it is longer.
    short: Box<[u16; 1 << LOOK]>,
    /// For each length, the first code beyond those of that length, as 16 bits.
    limits: [u32; LONGEST + 1],
    /// For each length, the place of its first symbol, less its first code.
    offsets: [i32; LONGEST + 1],
    symbols: [u8; 256],
}

impl Huffman {
    /// Of the number of codes of each length, and their symbols; `None` where there are no such codes.
    pub(super) fn new(counts: &[u8; LONGEST], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            short: Box::new([0; 1 << LOOK]),
            limits: [0; LONGEST + 1],
            offsets: [0; LONGEST + 1],
            symbols: [0; 256],
        };
        table.symbols.get_mut(..symbols.len())?.copy_from_slice(symbols);
        let (mut code, mut place) = (0u32, 0usize);
        for (length, count) in (1..).zip(counts) {
            table.offsets[length] = place as i32 - code.cast_signed();
            for symbol in symbols.get(place..place + usize::from(*count))? {
                if code >> length != 0 {
                    return None;
                }
                if let Some(free) = LOOK.checked_sub(length as u32) {
                    let entries = table.short.get_mut((code << free) as usize..((code + 1) << free) as usize)?;
                    entries.fill((length as u16) << 8 | u16::from(*symbol));
                }
                code += 1;
            }
            place += usize::from(*count);
            table.limits[length] = code << (LONGEST - length);
            code <<= 1;
        }
        (place == symbols.len()).then_some(table)
    }

    /// The next symbol. The bits have to be filled.
    #[inline]
    pub(super) fn decode(&self, bits: &mut Bits<'_>) -> Result<u8, Refusal> {
        let entry = self.short[bits.peek(LOOK) as usize];
        if entry == 0 {
            return self.decode_long(bits);
        }
        bits.skip(u32::from(entry >> 8));
        Ok(entry as u8)
    }

    #[cold]
    fn decode_long(&self, bits: &mut Bits<'_>) -> Result<u8, Refusal> {
        let next = bits.peek(LONGEST as u32);
        for length in LOOK as usize + 1..=LONGEST {
            if next < self.limits[length] {
                let code = next >> (LONGEST - length);
                bits.skip(length as u32);
                let place = usize::try_from(code.cast_signed() + self.offsets[length]).ok();
                return place.and_then(|place| self.symbols.get(place)).copied().ok_or_else(damaged);
            }
        }
        Err(damaged())
    }
}

/// There is a code that no table has, or what it stands for makes no sense.
pub(super) fn damaged() -> Refusal {
    Refusal::file("the JPEG is damaged: its codes make no sense")
}
