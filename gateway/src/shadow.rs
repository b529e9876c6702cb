//! Copies of a generation's requests, run by another one whose answers nobody gets: a release on trial that can do no
//! harm. The answers are compared and counted.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use modelgate_columns::{Column, Values, View};
use prometheus::IntCounter;

use crate::tensor::Batch;

/// Rows of an answer that are compared.
const MAX_ROWS: usize = 256;

/// Where copies go, if anywhere: to a generation `G`. The flag spares requests the lock.
#[derive(Debug)]
pub struct Shadow<G> {
    on: AtomicBool,
    turn: AtomicU32,
    target: RwLock<Option<Arc<Target<G>>>>,
}

impl<G> Default for Shadow<G> {
    fn default() -> Self {
        Self { on: AtomicBool::new(false), turn: AtomicU32::new(0), target: RwLock::new(None) }
    }
}

/// A generation that gets copies.
#[derive(Debug)]
pub struct Target<G> {
    /// The generation.
    pub generation: Arc<G>,
    /// The share of requests that are copied, in thousandths.
    pub share: u32,
    /// Answers that were the same.
    pub same: IntCounter,
    /// Answers that differed.
    pub different: IntCounter,
    /// Copies that got no answer.
    pub failed: IntCounter,
    /// Copies not made because it takes other columns, or in another order.
    pub incompatible: IntCounter,
    /// Copies not made because the gateway had enough to do.
    pub skipped: IntCounter,
}

impl<G> Shadow<G> {
    /// Sends copies there from now on; `None` ends it.
    pub fn set(&self, target: Option<Arc<Target<G>>>) {
        let on = target.is_some();
        let old = std::mem::replace(&mut *self.target.write().unwrap_or_else(PoisonError::into_inner), target);
        self.on.store(on, Ordering::Release);
        drop(old);
    }

    /// Where a copy of this request should go.
    pub fn next(&self) -> Option<Arc<Target<G>>> {
        if !self.on.load(Ordering::Acquire) {
            return None;
        }
        let target = self.target.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).wrapping_mul(619) % 1000;
        (turn < target.share).then_some(target)
    }
}

/// Whether two answers with these columns say the same, floats within `tolerance`, and within a millionth at least.
pub fn same(columns: &[Column], tolerance: f64, answer: &Batch, others: &Batch) -> bool {
    if answer.rows != others.rows {
        return false;
    }
    if answer.words == others.words {
        return true;
    }
    let tolerance = tolerance.max(1e-6);
    match (answer.views(columns), others.views(columns)) {
        (Ok(left), Ok(right)) => columns
            .iter()
            .zip(left.iter().zip(&right))
            .all(|(column, (left, right))| alike(column, left, right, tolerance)),
        _ => false,
    }
}

fn alike(column: &Column, left: &View<'_>, right: &View<'_>, tolerance: f64) -> bool {
    if left.shape(column) != right.shape(column) {
        return false;
    }
    let near = |a: f64, b: f64| (a - b).abs() <= tolerance * a.abs().max(1.0) || (a.is_nan() && b.is_nan());
    match (&left.values, &right.values) {
        (Values::F32(a), Values::F32(b)) => {
            a.iter().zip(*b).take(MAX_ROWS * 64).all(|(a, b)| near(f64::from(*a), f64::from(*b)))
        }
        (Values::F64(a), Values::F64(b)) => a.iter().zip(*b).take(MAX_ROWS * 64).all(|(a, b)| near(*a, *b)),
        (Values::Bytes(a), Values::Bytes(b)) => a.iter().take(MAX_ROWS).eq(b.iter().take(MAX_ROWS)),
        (a, b) => a.as_bytes() == b.as_bytes(),
    }
}
