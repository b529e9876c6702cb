//! A text that no log shows.

use std::{convert::Infallible, fmt, path::Path, str::FromStr};

use anyhow::Context;
use serde::Deserialize;

/// A token or a password.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl FromStr for Secret {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// The admin token, given as it is or in a file.
///
/// # Errors
/// A file that cannot be read, an empty token.
pub fn admin_token(given: Option<&Secret>, file: Option<&Path>) -> anyhow::Result<Option<Secret>> {
    let file = file
        .map(|path| std::fs::read_to_string(path).with_context(|| format!("admin token file {}", path.display())))
        .transpose()?;
    let Some(token) = given.map(Secret::expose).or(file.as_deref()).map(str::trim) else { return Ok(None) };
    anyhow::ensure!(!token.is_empty(), "the admin token is empty");
    Ok(Some(token.parse()?))
}
