//! A second reading of a body that is JSON but for `NaN` and the infinities.

use crate::json::decode::{builder::Forms, state::DecodeError, tokens};

/// Decodes a body, and where it is no JSON for its tokens alone (see [`tokens`]), once more with them.
pub(super) fn with_tokens<T>(
    body: &[u8],
    forms: Forms,
    mut decode: impl FnMut(&[u8], Forms) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let decoded = decode(body, forms);
    match decoded {
        Err(DecodeError::Malformed { .. }) => match tokens::rewritten(body) {
            Some(text) => decode(&text, Forms { tokens: true, ..forms }),
            None => decoded,
        },
        _ => decoded,
    }
}
