//! Whether and how far requests for one generation are run together.

use std::time::Duration;

use serde::Deserialize;

/// Rows that are run together, where a manifest does not say.
const MAX_ROWS: u32 = 64;

/// The longest time that a manifest may let a request wait for others: a second.
const MAX_DELAY_US: u64 = 1_000_000;

/// The largest tolerance that a manifest may give: what rounding does, and no more.
const MAX_TOLERANCE: f64 = 1e-2;

/// Micro-batching of one bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Rows in one run; 1 if requests are never put together.
    pub max_rows: u32,
    /// The time that a request may wait for others; 0 joins only requests that wait already.
    pub max_delay: Duration,
}

impl Default for Batching {
    fn default() -> Self {
        Self { max_rows: MAX_ROWS, max_delay: Duration::ZERO }
    }
}

impl Batching {
    /// Each request by itself.
    pub const OFF: Self = Self { max_rows: 1, max_delay: Duration::ZERO };

    /// Whether requests are put together at all.
    pub fn is_on(&self) -> bool {
        self.max_rows > 1
    }
}

/// `[batching]` in a manifest.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchingEntry {
    enabled: Option<bool>,
    max_rows: Option<u32>,
    max_delay_us: Option<u64>,
    tolerance: Option<f64>,
}

impl BatchingEntry {
    /// The largest difference that rows of others may make to a number, times the number alone where that is above 1.
    pub(crate) fn tolerance(&self) -> Result<f64, String> {
        match self.tolerance {
            Some(tolerance) if !(0.0..=MAX_TOLERANCE).contains(&tolerance) => {
                Err(format!("[batching] tolerance: expected 0 to {MAX_TOLERANCE}, got {tolerance}"))
            }
            tolerance => Ok(tolerance.unwrap_or(0.0)),
        }
    }

    pub(crate) fn resolve(&self) -> Result<Batching, String> {
        let max_rows = match self.max_rows {
            Some(0) => return Err("[batching] max_rows: expected 1 or more, got 0".into()),
            rows => rows.unwrap_or(MAX_ROWS),
        };
        let delay = match self.max_delay_us {
            Some(micros) if micros > MAX_DELAY_US => {
                return Err(format!("[batching] max_delay_us: expected {MAX_DELAY_US} at most, got {micros}"));
            }
            micros => micros.unwrap_or(0),
        };
        let max_rows = if self.enabled.unwrap_or(true) { max_rows } else { 1 };
        Ok(Batching { max_rows, max_delay: Duration::from_micros(delay) })
    }
}
