//! A picture while it is decoded: its components, each a plane of samples.

use crate::{Refusal, memory::zeros};

/// Samples in a row or column of a block.
pub(super) const SIDE: usize = 8;

/// The order in which coefficients are stored: for each, its place in a block, row by row.
pub(super) const ORDER: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// The frame, as its header says.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) is_progressive: bool,
    /// Units of all components side by side, and one under the other.
    pub(super) units: (usize, usize),
    /// The largest factors of all components.
    pub(super) largest: (usize, usize),
    pub(super) components: Vec<Component>,
}

/// One component.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Blocks of a unit side by side, and one under the other.
    pub(super) factors: (usize, usize),
    /// The number of its table of divisors.
    pub(super) divisors: usize,
    /// That table, once a scan has come.
    pub(super) table: Option<[u16; 64]>,
    /// Samples that belong to the picture: in a row, and rows.
    pub(super) width: usize,
    pub(super) height: usize,
    /// Blocks that are stored: in a row, and rows.
    pub(super) blocks: (usize, usize),
    /// The coefficients of all blocks, where several scans give them.
    pub(super) coefficients: Vec<[i16; 64]>,
    /// The samples, row by row, of whole blocks.
    pub(super) plane: Vec<u8>,
}

impl Component {
    /// Samples in a row of the plane.
    pub(super) fn stride(&self) -> usize {
        self.blocks.0 * SIDE
    }

    /// The samples of a row that belong to the picture.
    pub(super) fn row(&self, row: usize) -> &[u8] {
        &self.plane[row * self.stride()..][..self.width]
    }
}

impl Frame {
    /// With components of these numbers, factors and tables; memory is taken for them.
    pub(super) fn new(
        width: usize,
        height: usize,
        is_progressive: bool,
        described: &[(u8, (usize, usize), usize)],
    ) -> Result<Self, Refusal> {
        let largest = described.iter().fold((1, 1), |(x, y), (_, (h, v), _)| (x.max(*h), y.max(*v)));
        let units = (width.div_ceil(largest.0 * SIDE), height.div_ceil(largest.1 * SIDE));
        let components = described.iter().map(|&(id, factors, divisors)| {
            if !largest.0.is_multiple_of(factors.0) || !largest.1.is_multiple_of(factors.1) {
                return Err(Refusal::file("a JPEG with such factors of chroma is not decoded"));
            }
            let blocks = (units.0 * factors.0, units.1 * factors.1);
            let count = blocks.0 * blocks.1;
            Ok(Component {
                id,
                factors,
                divisors,
                table: None,
                width: (width * factors.0).div_ceil(largest.0),
                height: (height * factors.1).div_ceil(largest.1),
                blocks,
                coefficients: if is_progressive { blocks_of_zeros(count)? } else { Vec::new() },
                plane: zeros(count * SIDE * SIDE)?,
            })
        });
        let components = components.collect::<Result<_, _>>()?;
        Ok(Self { width, height, is_progressive, units, largest, components })
    }
}

fn blocks_of_zeros(count: usize) -> Result<Vec<[i16; 64]>, Refusal> {
    let mut blocks = Vec::new();
    let bytes = count.saturating_mul(size_of::<[i16; 64]>());
    blocks.try_reserve_exact(count).map_err(|_| Refusal::NoMemory { bytes })?;
    blocks.resize(count, [0; 64]);
    Ok(blocks)
}
