//! Markers: tables, the header of the frame, and the scans one after the other.

use crate::{
    Refusal,
    decode::bounded,
    jpeg::{
        frame::{Frame, ORDER},
        huffman::{Huffman, damaged},
        scan::{Scan, decode, finish},
    },
};

/// Scans of a progressive file that are decoded: ten are usual.
const SCANS: usize = 256;

/// The way in which components stand for colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    Gray,
    Rgb,
    Ycc,
    Cmyk,
    Ycck,
}

/// Reads a file from the front.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    file: &'a [u8],
    max_pixels: u64,
    place: usize,
    tables: Tables,
    has_jfif: bool,
    /// The transform of colours that the marker of Adobe tells.
    adobe: Option<u8>,
    /// Camera's data.
    pub(super) exif: Option<&'a [u8]>,
}

/// The tables that scans name by number.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// Divisors, in the order of a block's rows.
    divisors: [Option<[u16; 64]>; 4],
    pub(super) dc: [Option<Huffman>; 4],
    pub(super) ac: [Option<Huffman>; 4],
    /// Units between restarts; 0 for none.
    pub(super) restart: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a [u8], max_pixels: u64) -> Self {
        Self { file, max_pixels, place: 2, tables: Tables::default(), has_jfif: false, adobe: None, exif: None }
    }

    /// The frame with its planes.
    pub(super) fn read(&mut self) -> Result<Frame, Refusal> {
        let mut frame: Option<Frame> = None;
        let mut scans = 0;
        loop {
            // All scans of such a frame have come when each component has; the marker of the end may be missing.
            let is_whole = |frame: &Frame| !frame.is_progressive && frame.components.iter().all(|c| c.table.is_some());
            let marker = match self.marker() {
                Err(_) if frame.as_ref().is_some_and(is_whole) => 0xd9,
                marker => marker?,
            };
            if marker == 0xd9 {
                break;
            }
            let body = self.segment()?;
            match marker {
                0xc4 => self.huffman(body)?,
                0xdb => self.divisors(body)?,
                0xdd => self.tables.restart = body.first_chunk().map_or(0, |pair| u16::from_be_bytes(*pair).into()),
                0xe0 => self.has_jfif |= body.starts_with(b"JFIF\0"),
                0xe1 if body.starts_with(b"Exif\0\0") => self.exif = self.exif.or(Some(body)),
                0xee => {
                    if let [b'A', b'd', b'o', b'b', b'e', _, _, _, _, _, _, transform, ..] = body {
                        self.adobe = Some(*transform);
                    }
                }
                0xc0..=0xc2 if frame.is_some() => return Err(Refusal::file("the JPEG has several frames")),
                0xc0..=0xc2 => frame = Some(self.frame(body, marker == 0xc2)?),
                0xc9..=0xcb | 0xcd..=0xcf => return Err(Refusal::file("JPEG with arithmetic codes is not decoded")),
                0xc3 | 0xc5..=0xc7 => return Err(Refusal::file("lossless and hierarchical JPEG is not decoded")),
                0xda => {
                    scans += 1;
                    if scans > SCANS {
                        return Err(Refusal::file(format!("the JPEG has more than {SCANS} scans")));
                    }
                    let frame = frame.as_mut().ok_or_else(damaged)?;
                    let scan = self.scan(body, frame)?;
                    self.place = decode(&scan, frame, &self.tables, self.file, self.place)?;
                }
                // Comments, and what cameras and editors add.
                _ => {}
            }
        }
        let mut frame = frame.ok_or(Refusal::Truncated)?;
        if frame.components.iter().any(|component| component.table.is_none()) {
            return Err(Refusal::Truncated);
        }
        finish(&mut frame);
        Ok(frame)
    }

    /// The space of colours, by the rules that libjpeg goes by.
    pub(super) fn space(&self, frame: &Frame) -> Space {
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        match (ids.len(), self.adobe) {
            (1, _) => Space::Gray,
            (3, _) if self.has_jfif => Space::Ycc,
            (3, Some(0)) => Space::Rgb,
            (3, None) if ids == *b"RGB" => Space::Rgb,
            (3, _) => Space::Ycc,
            (_, None | Some(0)) => Space::Cmyk,
            _ => Space::Ycck,
        }
    }

    /// The next marker that has something behind it, or that of the end.
    fn marker(&mut self) -> Result<u8, Refusal> {
        loop {
            let rest = self.file.get(self.place..).unwrap_or_default();
            // Other bytes between segments are passed over, as libjpeg passes over them.
            let start = rest.iter().position(|byte| *byte == 0xff).ok_or(Refusal::Truncated)?;
            let (fill, marker) = rest[start..]
                .iter()
                .enumerate()
                .find(|(_, byte)| **byte != 0xff)
                .map(|(fill, byte)| (start + fill, *byte))
                .ok_or(Refusal::Truncated)?;
            self.place += fill + 1;
            // The markers 0, 1 and of restarts have no segment and are skipped.
            if !matches!(marker, 0 | 1 | 0xd0..=0xd8) {
                return Ok(marker);
            }
        }
    }

    /// The bytes behind a marker, as it tells their number.
    fn segment(&mut self) -> Result<&'a [u8], Refusal> {
        let rest = self.file.get(self.place..).unwrap_or_default();
        let (length, _) = rest.split_first_chunk().ok_or(Refusal::Truncated)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let segment = rest.get(..length).ok_or(Refusal::Truncated)?;
        self.place += length;
        segment.get(2..).ok_or_else(damaged)
    }

    fn divisors(&mut self, mut body: &[u8]) -> Result<(), Refusal> {
        while let Some((head, rest)) = body.split_first() {
            let size = if head >> 4 == 0 { 1 } else { 2 };
            let (values, rest) = rest.split_at_checked(64 * size).ok_or_else(damaged)?;
            let mut table = [0; 64];
            for (place, value) in ORDER.iter().zip(values.chunks_exact(size)) {
                table[*place] = value.iter().fold(0, |value, byte| value << 8 | u16::from(*byte));
            }
            *self.tables.divisors.get_mut(usize::from(head & 15)).ok_or_else(damaged)? = Some(table);
            body = rest;
        }
        Ok(())
    }

    fn huffman(&mut self, mut body: &[u8]) -> Result<(), Refusal> {
        while let Some((head, rest)) = body.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
            let count = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.split_at_checked(count).ok_or_else(damaged)?;
            let tables = if head >> 4 == 0 { &mut self.tables.dc } else { &mut self.tables.ac };
            let table = tables.get_mut(usize::from(head & 15)).ok_or_else(damaged)?;
            *table = Some(Huffman::new(counts, symbols).ok_or_else(damaged)?);
            body = rest;
        }
        Ok(())
    }

    fn frame(&self, body: &[u8], is_progressive: bool) -> Result<Frame, Refusal> {
        let [bits, h1, h0, w1, w0, count, rest @ ..] = body else { return Err(damaged()) };
        if *bits != 8 {
            return Err(Refusal::file(format!("expected a JPEG of 8 bits, got {bits}")));
        }
        let sizes = [[*w1, *w0], [*h1, *h0]].map(u16::from_be_bytes);
        let (width, height) = bounded(sizes[0].into(), sizes[1].into(), self.max_pixels)?;
        if !matches!(count, 1 | 3 | 4) {
            return Err(Refusal::file(format!("expected a JPEG of 1, 3 or 4 components, got {count}")));
        }
        let (described, _) = rest.as_chunks::<3>();
        let described = described.get(..usize::from(*count)).ok_or_else(damaged)?;
        let described = described.iter().map(|[id, factors, table]| {
            let factors = (usize::from(factors >> 4), usize::from(factors & 15));
            let are_right = (1..=4).contains(&factors.0) && (1..=4).contains(&factors.1) && *table < 4;
            are_right.then_some((*id, factors, usize::from(*table))).ok_or_else(damaged)
        });
        let described = described.collect::<Result<Vec<_>, _>>()?;
        Frame::new(width, height, is_progressive, &described)
    }

    /// The header of a scan. The divisors of its components are those that hold now.
    fn scan(&self, body: &[u8], frame: &mut Frame) -> Result<Scan, Refusal> {
        let (count, rest) = body.split_first().ok_or_else(damaged)?;
        let (parts, rest) = rest.split_at_checked(2 * usize::from(*count)).ok_or_else(damaged)?;
        let [first, last, bits, ..] = rest else { return Err(damaged()) };
        let mut components: Vec<(usize, usize, usize)> = Vec::with_capacity(parts.len() / 2);
        for [id, tables] in parts.as_chunks::<2>().0 {
            let place = frame.components.iter().position(|component| component.id == *id).ok_or_else(damaged)?;
            let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            if dc > 3 || ac > 3 || components.iter().any(|(other, ..)| *other == place) {
                return Err(damaged());
            }
            let component = &mut frame.components[place];
            if component.table.is_none() {
                component.table = Some(self.tables.divisors[component.divisors].ok_or_else(damaged)?);
            }
            components.push((place, dc, ac));
        }
        let scan = Scan { components, band: (*first, *last), approximation: (bits >> 4, bits & 15) };
        if scan.fits(frame.is_progressive) { Ok(scan) } else { Err(damaged()) }
    }
}
