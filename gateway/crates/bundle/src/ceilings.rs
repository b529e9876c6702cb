//! The most that the operator lets bundles ask for, whatever their manifests say.

use std::time::Duration;

use modelgate_sandbox::Isolation;
use serde::{Deserialize, Serialize};

use crate::{bundle::Bundle, error::BundleError, manifest::MAX_DEADLINE};

/// Bytes through a module's imports in one request where the operator sets no ceiling: 16 times a bundle's default.
const MAX_HOST_CALL_BYTES: usize = 4 << 30;

/// The operator's ceilings over a manifest's limits, and the least isolation.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Ceilings {
    /// Of a request's deadline.
    pub deadline: Duration,
    /// Of the rows in one request.
    pub rows: u32,
    /// Of the linear memory of one worker's modules, in bytes.
    pub memory: usize,
    /// Of the bytes through a module's imports in one request.
    pub host_call_bytes: usize,
    /// Bundles that ask for less get this.
    pub isolation: Isolation,
}

impl Default for Ceilings {
    /// All that a manifest can say, but for the bytes through imports.
    fn default() -> Self {
        Self {
            deadline: MAX_DEADLINE,
            rows: u32::MAX,
            memory: usize::MAX,
            host_call_bytes: MAX_HOST_CALL_BYTES,
            isolation: Isolation::Worker,
        }
    }
}

impl Ceilings {
    /// Raises a bundle to the least isolation, and refuses one that asks for more than it may have.
    ///
    /// # Errors
    /// One sentence for each limit that is over its ceiling.
    pub fn apply(&self, bundle: &mut Bundle) -> Result<(), BundleError> {
        bundle.isolation = bundle.isolation.max(self.isolation);
        let limits = &bundle.limits;
        let mut problems = Vec::new();
        let mut over = |is_over: bool, field: &str, asked: String, most: String, setting: &str| {
            if is_over {
                problems.push(format!(
                    "[limits] {field}: this gateway allows {most} at most ({setting}), the bundle has {asked}"
                ));
            }
        };
        over(
            limits.deadline > self.deadline,
            "deadline_ms",
            limits.deadline.as_millis().to_string(),
            self.deadline.as_millis().to_string(),
            "--max-deadline",
        );
        over(limits.rows > self.rows, "rows", limits.rows.to_string(), self.rows.to_string(), "--max-rows");
        let bytes = |bytes: usize| format!("{bytes} bytes");
        over(limits.memory > self.memory, "memory", bytes(limits.memory), bytes(self.memory), "--max-module-memory");
        over(
            limits.host_call_bytes > self.host_call_bytes,
            "host_call_bytes",
            bytes(limits.host_call_bytes),
            bytes(self.host_call_bytes),
            "--max-host-call-bytes",
        );
        if problems.is_empty() { Ok(()) } else { Err(BundleError { problems }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_gets_no_more_than_the_operator_allows() {
        let mut bundle = Bundle::demo().expect("the demo");
        assert!(Ceilings::default().apply(&mut bundle).is_ok());
        assert_eq!(bundle.isolation, Isolation::Worker);
        let low = Ceilings {
            deadline: Duration::from_millis(1),
            rows: 1,
            memory: 1 << 10,
            host_call_bytes: 1 << 10,
            isolation: Isolation::Request,
        };
        let error = low.apply(&mut bundle).expect_err("over all of them");
        assert_eq!(bundle.isolation, Isolation::Request);
        let message = error.to_string();
        for setting in ["--max-deadline", "--max-rows", "--max-module-memory", "--max-host-call-bytes"] {
            assert!(message.contains(setting), "{message}");
        }
        assert_eq!(error.problems.len(), 4, "{message}");
        let exact = Ceilings {
            deadline: bundle.limits.deadline,
            rows: bundle.limits.rows,
            memory: bundle.limits.memory,
            host_call_bytes: bundle.limits.host_call_bytes,
            isolation: Isolation::Worker,
        };
        assert!(exact.apply(&mut bundle).is_ok());
        assert_eq!(bundle.isolation, Isolation::Request, "a floor lowers nothing");
    }
}
