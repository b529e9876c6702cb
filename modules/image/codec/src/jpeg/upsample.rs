//! A component's rows at the picture's size.
//!
//! Where there are half as many samples, each new one is three parts of the nearer and one of the farther ("fancy upsampling" to
//! libjpeg, which has it on unless told otherwise); at the edges only the nearer counts. Other sizes repeat samples.

use crate::jpeg::frame::Component;

/// Components of fewer samples in a row are repeated.
const NARROW: usize = 2;

/// Makes rows of one component.
#[derive(Debug)]
pub(super) struct Upsample {
    /// Samples of the picture for one of the component: in a row, and rows.
    factors: (usize, usize),
    /// Three parts of the nearer row and one of the farther.
    sums: Vec<u16>,
}

impl Upsample {
    pub(super) fn new(component: &Component, largest: (usize, usize)) -> Self {
        Self { factors: (largest.0 / component.factors.0, largest.1 / component.factors.1), sums: Vec::new() }
    }

    /// Writes one row of the picture. The `row` has room for twice the component's samples at least.
    pub(super) fn row(&mut self, component: &Component, y: usize, row: &mut [u8]) {
        let is_wide = component.width > NARROW;
        match self.factors {
            (1, 1) => row[..component.width].copy_from_slice(component.row(y)),
            (2, 1) if is_wide => twice(component.row(y), row),
            (1, 2) => {
                let (near, far) = (component.row(y / 2), component.row(farther(component, y)));
                // Halves are rounded down and up in turn.
                let half = if y.is_multiple_of(2) { 1 } else { 2 };
                for (sample, (near, far)) in row.iter_mut().zip(near.iter().zip(far)) {
                    *sample = ((3 * u16::from(*near) + u16::from(*far) + half) >> 2) as u8;
                }
            }
            (2, 2) if is_wide => {
                let (near, far) = (component.row(y / 2), component.row(farther(component, y)));
                self.sums.clear();
                self.sums.extend(near.iter().zip(far).map(|(near, far)| 3 * u16::from(*near) + u16::from(*far)));
                twice_of_sums(&self.sums, row);
            }
            (across, down) => {
                let samples = component.row(y / down).iter().flat_map(|sample| std::iter::repeat_n(*sample, across));
                row.iter_mut().zip(samples).for_each(|(place, sample)| *place = sample);
            }
        }
    }
}

/// The row on the other side of this half of a row.
fn farther(component: &Component, y: usize) -> usize {
    let near = y / 2;
    if y.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(component.height - 1) }
}

/// A row of twice as many samples. There are two at least.
fn twice(samples: &[u8], row: &mut [u8]) {
    let last = samples.len() - 1;
    let wide = |place: usize| u16::from(samples[place]);
    let (pairs, _) = row.as_chunks_mut::<2>();
    pairs[0] = [samples[0], ((3 * wide(0) + wide(1) + 2) >> 2) as u8];
    pairs[last] = [((3 * wide(last) + wide(last - 1) + 1) >> 2) as u8, samples[last]];
    for (pair, near) in pairs[1..last].iter_mut().zip(samples.windows(3)) {
        let [before, near, after] = [near[0], near[1], near[2]].map(u16::from);
        *pair = [((3 * near + before + 1) >> 2) as u8, ((3 * near + after + 2) >> 2) as u8];
    }
}

/// The same of sums of four parts.
fn twice_of_sums(sums: &[u16], row: &mut [u8]) {
    let last = sums.len() - 1;
    let (pairs, _) = row.as_chunks_mut::<2>();
    pairs[0] = [((4 * sums[0] + 8) >> 4) as u8, ((3 * sums[0] + sums[1] + 7) >> 4) as u8];
    pairs[last] = [((3 * sums[last] + sums[last - 1] + 8) >> 4) as u8, ((4 * sums[last] + 7) >> 4) as u8];
    for (pair, near) in pairs[1..last].iter_mut().zip(sums.windows(3)) {
        let [before, near, after] = [near[0], near[1], near[2]];
        *pair = [((3 * near + before + 8) >> 4) as u8, ((3 * near + after + 7) >> 4) as u8];
    }
}
