//! Why a file is not decoded.

use std::fmt;

/// Why there are no pixels. Its text is a phrase for the person who sent the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The bytes are no file of a known format.
    Unknown,
    /// The picture has more pixels than are allowed.
    TooManyPixels {
        /// As the file says.
        width: u64,
        /// As the file says.
        height: u64,
        /// The most that are allowed.
        limit: u64,
    },
    /// There is no room for the pixels.
    NoMemory {
        /// The bytes that were asked for.
        bytes: usize,
    },
    /// The file ends before its pixels do.
    Truncated,
    /// The file is damaged, or has something in it that is not decoded.
    File(String),
}

impl Refusal {
    pub(crate) fn file(message: impl Into<String>) -> Self {
        Self::File(message.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("expected a picture as PNG, JPEG or WebP, got other bytes"),
            Self::TooManyPixels { width, height, limit } => {
                write!(f, "expected at most {limit} pixels, got {width} x {height}")
            }
            Self::NoMemory { bytes } => {
                write!(f, "the picture is too large: {bytes} bytes of memory are not free for its pixels")
            }
            Self::Truncated => f.write_str("the file ends before its pixels do"),
            Self::File(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Refusal {}
