//! Everything that is wrong with a bundle, in one error.

/// Everything that is wrong with a bundle.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .problems.join("\n"))]
pub struct BundleError {
    /// One sentence each.
    pub problems: Vec<String>,
}

impl From<String> for BundleError {
    fn from(problem: String) -> Self {
        Self { problems: vec![problem] }
    }
}
