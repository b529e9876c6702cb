//! The engine's errors, told as what they are.

use tract_onnx::tract_hir::internal::TractError;

use super::error::ModelError;

/// The refusal of work that a file of so many bytes may not make the host do before it runs.
#[derive(Clone, Debug, thiserror::Error)]
#[error("it asks for too much: {0}")]
pub(super) struct Refused(String);

impl Refused {
    pub(super) fn new(what: String) -> Self {
        Self(what)
    }
}

/// An error of the engine, told as what it is.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn engine(error: TractError) -> ModelError {
    match error.downcast_ref::<Refused>() {
        Some(Refused(what)) => ModelError::Constants(what.clone()),
        None => ModelError::Engine(brief(&error)),
    }
}

/// Whether what was to be built asks for so much that nothing else of the file should be tried.
pub(super) fn is_refused(error: &TractError) -> bool {
    error.is::<Refused>()
}

/// tract's errors, with their causes. Some print whole tensors: the beginning says enough.
pub(super) fn brief(error: &TractError) -> String {
    const LONGEST: usize = 600;
    let mut text = format!("{error:#}");
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text
}
