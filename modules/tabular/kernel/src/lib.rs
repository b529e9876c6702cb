//! The inner loops of the tabular module.
//!
//! A crate of its own, so that it is compiled for speed and the rest of the module, which runs once, for size.

mod lane;
mod op;
mod table;

use modelgate_columns::View;

pub use lane::{Fault, Lane, Sink, Source, number};
pub use op::{Op, Unknown};
pub use table::{Numbers, Otherwise, Texts};

use lane::Real;

/// Rows computed at a time. A tile of the matrix then stays in the first-level cache while lane after lane fills it.
const TILE: usize = 64;

/// Everything there is to compute.
#[derive(Debug)]
pub struct Kernel {
    /// In the order of the matrix's columns.
    pub lanes: Vec<Lane>,
    /// Numbers in each row of the matrix, at least 1.
    pub width: usize,
}

impl Kernel {
    /// Fills a zeroed matrix in single precision from the input columns. Stops at the first value that is refused.
    pub fn fill_f32(&self, views: &[View<'_>], matrix: &mut [f32]) -> Result<(), Fault> {
        self.fill(views, matrix)
    }

    /// The same in double precision.
    pub fn fill_f64(&self, views: &[View<'_>], matrix: &mut [f64]) -> Result<(), Fault> {
        self.fill(views, matrix)
    }

    /// The first row of a lane that is refused, and why. `single` is whether the matrix is in single precision.
    pub fn fault(&self, lane: &Lane, view: &View<'_>, single: bool) -> Option<(usize, Fault)> {
        let mut scratch = [0.0];
        (0..view.rows).find_map(|row| {
            let run = if single {
                lane.run(view, row, &mut scratch, &mut vec![0f32; self.width], self.width)
            } else {
                lane.run(view, row, &mut scratch, &mut vec![0f64; self.width], self.width)
            };
            run.err().map(|fault| (row, fault))
        })
    }

    fn fill<T: Real>(&self, views: &[View<'_>], matrix: &mut [T]) -> Result<(), Fault> {
        let mut scratch = [0.0; TILE];
        for (tile, rows) in matrix.chunks_mut(TILE * self.width).enumerate() {
            let scratch = &mut scratch[..rows.len() / self.width];
            for lane in &self.lanes {
                lane.run(&views[lane.input], tile * TILE, scratch, rows, self.width)?;
            }
        }
        Ok(())
    }
}
