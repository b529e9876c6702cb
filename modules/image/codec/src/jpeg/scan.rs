//! One scan: the coefficients of some components, or some bits of some of them.

use crate::{
    Refusal,
    jpeg::{
        bits::Bits,
        frame::{Component, Frame, ORDER, SIDE},
        header::Tables,
        huffman::{Huffman, damaged},
        transform,
    },
};

/// Symbols of codes for zeros alone: how many, in the upper four bits.
const ZEROS: u8 = 15;

/// A scan's header.
#[derive(Debug)]
pub(super) struct Scan {
    /// Places of components, and the numbers of their tables.
    pub(super) components: Vec<(usize, usize, usize)>,
    /// The first and the last coefficient.
    pub(super) band: (u8, u8),
    /// The lowest bit that came before, plus one; and the lowest that comes now. Of a first scan the former is 0.
    pub(super) approximation: (u8, u8),
}

impl Scan {
    /// Whether a frame may have such a scan.
    pub(super) fn fits(&self, is_progressive: bool) -> bool {
        let ((first, last), (before, now)) = (self.band, self.approximation);
        let count = self.components.len();
        if !is_progressive {
            return (1..=4).contains(&count);
        }
        let is_band = if first == 0 { last == 0 } else { first <= last && last < 64 && count == 1 };
        (1..=4).contains(&count) && is_band && now <= 13 && (before == 0 || before == now + 1)
    }
}

/// The state that one block leaves to the next.
#[derive(Debug, Default)]
struct State {
    /// The last mean of each component of the frame.
    means: [i32; 4],
    /// Blocks to come that have nothing more in this band.
    ended: u32,
}

/// Decodes a scan whose data begin at this place. Gives the place of the marker behind it.
pub(super) fn decode(
    scan: &Scan,
    frame: &mut Frame,
    tables: &Tables,
    file: &[u8],
    place: usize,
) -> Result<usize, Refusal> {
    let mut bits = Bits::new(file, place);
    let mut state = State::default();
    let is_alone = scan.components.len() == 1;
    let (wide, high) = if is_alone {
        // One component comes by itself without the blocks that fill up its units.
        let component = &frame.components[scan.components[0].0];
        (component.width.div_ceil(SIDE), component.height.div_ceil(SIDE))
    } else {
        frame.units
    };
    let mut until_restart = tables.restart;
    for y in 0..high {
        for x in 0..wide {
            if tables.restart > 0 {
                if until_restart == 0 {
                    if !bits.restart() {
                        return Err(damaged());
                    }
                    state = State::default();
                    until_restart = tables.restart;
                }
                until_restart -= 1;
            }
            for &(place, dc, ac) in &scan.components {
                let is_progressive = frame.is_progressive;
                let component = &mut frame.components[place];
                let (across, down) = if is_alone { (1, 1) } else { component.factors };
                let codes = Codes { dc: tables.dc[dc].as_ref(), ac: tables.ac[ac].as_ref() };
                for row in y * down..(y + 1) * down {
                    for column in x * across..(x + 1) * across {
                        if is_progressive {
                            let block = &mut component.coefficients[row * component.blocks.0 + column];
                            part(scan, &codes, &mut bits, &mut state, place, block)?;
                        } else {
                            let mut block = [0; 64];
                            let last = whole(&codes, &mut bits, &mut state.means[place], &mut block)?;
                            component.write(column, row, &block, last);
                        }
                    }
                }
            }
            if bits.is_beyond() {
                return Err(Refusal::Truncated);
            }
        }
    }
    Ok(bits.marker())
}

/// The samples of a frame whose coefficients came in several scans.
pub(super) fn finish(frame: &mut Frame) {
    for component in &mut frame.components {
        let coefficients = std::mem::take(&mut component.coefficients);
        let columns = component.blocks.0;
        for (place, block) in coefficients.iter().enumerate() {
            let last = if block[1..].iter().all(|value| *value == 0) { 0 } else { 63 };
            component.write(place % columns, place / columns, block, last);
        }
    }
}

impl Component {
    /// Writes the samples of a block, of which the coefficients behind the `last` one are 0.
    #[inline]
    fn write(&mut self, column: usize, row: usize, block: &[i16; 64], last: usize) {
        let Some(table) = &self.table else { return };
        let stride = self.blocks.0 * SIDE;
        let rows = self.plane[row * SIDE * stride..].chunks_exact_mut(stride).take(SIDE);
        let places = column * SIDE..(column + 1) * SIDE;
        if last == 0 {
            let sample = transform::flat(block[0], table);
            rows.for_each(|row| row[places.clone()].fill(sample));
        } else {
            let samples = transform::samples(block, table);
            rows.zip(&samples).for_each(|(row, samples)| row[places.clone()].copy_from_slice(samples));
        }
    }
}

/// The codes of a component, as far as tables for them came.
struct Codes<'a> {
    dc: Option<&'a Huffman>,
    ac: Option<&'a Huffman>,
}

impl Codes<'_> {
    fn dc(&self) -> Result<&Huffman, Refusal> {
        self.dc.ok_or_else(damaged)
    }

    fn ac(&self) -> Result<&Huffman, Refusal> {
        self.ac.ok_or_else(damaged)
    }
}

/// The next mean.
#[inline]
fn mean(codes: &Huffman, bits: &mut Bits<'_>, mean: &mut i32) -> Result<i32, Refusal> {
    bits.fill();
    let size = codes.decode(bits)?;
    if size > 15 {
        return Err(damaged());
    }
    *mean = mean.wrapping_add(bits.signed(size.into()));
    Ok(*mean)
}

/// A block with all of its coefficients. Gives the last place, in the order in which they are stored, that may be other than 0.
#[inline]
fn whole(codes: &Codes<'_>, bits: &mut Bits<'_>, last_mean: &mut i32, block: &mut [i16; 64]) -> Result<usize, Refusal> {
    block[0] = mean(codes.dc()?, bits, last_mean)? as i16;
    let codes = codes.ac()?;
    let (mut place, mut last) = (1, 0);
    while place < 64 {
        bits.fill();
        let symbol = codes.decode(bits)?;
        let (zeros, size) = (symbol >> 4, symbol & 15);
        if size == 0 {
            if zeros != ZEROS {
                break;
            }
            place += 16;
            continue;
        }
        place += usize::from(zeros);
        let value = bits.signed(size.into()) as i16;
        block[*ORDER.get(place).ok_or_else(damaged)?] = value;
        last = place;
        place += 1;
    }
    Ok(last)
}

/// The part of a block that a scan of a progressive frame has.
fn part(
    scan: &Scan,
    codes: &Codes<'_>,
    bits: &mut Bits<'_>,
    state: &mut State,
    component: usize,
    block: &mut [i16; 64],
) -> Result<(), Refusal> {
    let (before, now) = scan.approximation;
    match (scan.band.0, before) {
        (0, 0) => {
            let mean = mean(codes.dc()?, bits, &mut state.means[component])?;
            block[0] = (mean << now) as i16;
        }
        (0, _) => {
            bits.fill();
            block[0] |= (bits.take(1) << now) as i16;
        }
        (_, 0) => first(scan, codes.ac()?, bits, &mut state.ended, block)?,
        _ => refine(scan, codes.ac()?, bits, &mut state.ended, block)?,
    }
    Ok(())
}

/// The upper bits of a band.
fn first(
    scan: &Scan,
    codes: &Huffman,
    bits: &mut Bits<'_>,
    ended: &mut u32,
    block: &mut [i16; 64],
) -> Result<(), Refusal> {
    if *ended > 0 {
        *ended -= 1;
        return Ok(());
    }
    let (mut place, last) = (usize::from(scan.band.0), usize::from(scan.band.1));
    while place <= last {
        bits.fill();
        let symbol = codes.decode(bits)?;
        let (zeros, size) = (symbol >> 4, symbol & 15);
        if size == 0 {
            if zeros != ZEROS {
                // This block is one of those that end here.
                *ended = (1 << zeros) - 1 + bits.take(zeros.into()).cast_unsigned();
                break;
            }
            place += 16;
            continue;
        }
        place += usize::from(zeros);
        let value = bits.signed(size.into()) << scan.approximation.1;
        block[*ORDER.get(place).ok_or_else(damaged)?] = value as i16;
        place += 1;
    }
    Ok(())
}

/// One more bit of a band.
fn refine(
    scan: &Scan,
    codes: &Huffman,
    bits: &mut Bits<'_>,
    ended: &mut u32,
    block: &mut [i16; 64],
) -> Result<(), Refusal> {
    let bit = 1i16 << scan.approximation.1;
    let (mut place, last) = (usize::from(scan.band.0), usize::from(scan.band.1));
    if *ended == 0 {
        while place <= last {
            bits.fill();
            let symbol = codes.decode(bits)?;
            let (mut zeros, size) = (symbol >> 4, symbol & 15);
            // A coefficient that becomes other than 0 is one bit and its sign.
            let value = match size {
                0 if zeros == ZEROS => 0,
                0 => {
                    *ended = (1 << zeros) + bits.take(zeros.into()).cast_unsigned();
                    break;
                }
                1 if bits.take(1) == 1 => bit,
                1 => -bit,
                _ => return Err(damaged()),
            };
            // The run counts coefficients that are still 0; each other one on the way has a correction bit.
            while place <= last {
                let coefficient = &mut block[ORDER[place]];
                if *coefficient != 0 {
                    more(bits, coefficient, bit);
                } else if zeros == 0 {
                    *coefficient = value;
                    place += 1;
                    break;
                } else {
                    zeros -= 1;
                }
                place += 1;
            }
        }
    }
    if *ended > 0 {
        for place in place..=last {
            let coefficient = &mut block[ORDER[place]];
            if *coefficient != 0 {
                more(bits, coefficient, bit);
            }
        }
        *ended -= 1;
    }
    Ok(())
}

/// One more bit of a coefficient that is not 0.
#[inline]
fn more(bits: &mut Bits<'_>, coefficient: &mut i16, bit: i16) {
    bits.fill();
    if bits.take(1) == 1 && *coefficient & bit == 0 {
        *coefficient = coefficient.wrapping_add(if *coefficient > 0 { bit } else { -bit });
    }
}
