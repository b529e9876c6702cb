//! Golden examples: rows with known answers, which a version has to give before it serves.

use serde::Deserialize;
use serde_json::Value;

/// Examples taken from a golden file.
const MAX_EXAMPLES: usize = 10_000;

/// Rows with known answers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Floats may differ by this much, times the expected value where that is above 1.
    #[serde(default = "default_tolerance")]
    pub tolerance: f64,
    /// One row each.
    pub examples: Vec<Example>,
}

/// One row and its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// A value for each input column.
    pub input: serde_json::Map<String, Value>,
    /// A value for some or all of the outputs.
    pub output: serde_json::Map<String, Value>,
}

fn default_tolerance() -> f64 {
    1e-5
}

impl Golden {
    /// Reads a file of examples.
    ///
    /// # Errors
    /// One sentence says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let golden: Self = serde_json::from_slice(bytes).map_err(|error| format!("golden examples: {error}"))?;
        if golden.examples.len() > MAX_EXAMPLES {
            return Err(format!("golden examples: at most {MAX_EXAMPLES} are taken, got {}", golden.examples.len()));
        }
        if !(golden.tolerance >= 0.0 && golden.tolerance.is_finite()) {
            return Err(format!("golden examples: expected a tolerance of 0 or more, got {}", golden.tolerance));
        }
        Ok(golden)
    }
}
