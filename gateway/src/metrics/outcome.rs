//! The ends of requests.

/// The end of a request to a model; a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Outcome {
    /// An answer was given.
    Success,
    /// The caller's data was at fault.
    Invalid,
    /// The queue was full.
    Shed,
    /// The deadline passed.
    Deadline,
    /// A module, the model or the gateway failed.
    Failed,
    /// The caller went away first.
    Cancelled,
}

impl Outcome {
    pub(super) const ALL: [Self; 6] =
        [Self::Success, Self::Invalid, Self::Shed, Self::Deadline, Self::Failed, Self::Cancelled];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Invalid => "invalid",
            Self::Shed => "shed",
            Self::Deadline => "deadline",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Triton's `reason` for it, in `nv_inference_request_failure`.
    pub(super) fn triton_reason(self) -> Option<&'static str> {
        match self {
            Self::Success => None,
            Self::Invalid | Self::Deadline => Some("OTHER"),
            Self::Shed => Some("REJECTED"),
            Self::Failed => Some("BACKEND"),
            Self::Cancelled => Some("CANCELED"),
        }
    }
}
